"""What camera and time say about pairs of tracklets (TOC, STS, SCP): mining, storing, applying to distances."""

from unreid.constraints.answers import Answers
from unreid.constraints.build import TrainConstraints, query_gallery_modifiers, train_constraints
from unreid.constraints.links import Links
from unreid.constraints.mining import mine_overlaps, passes_of_clusters
from unreid.constraints.modifiers import OVERLAP_PENALTY, Modifier, Penalty, SpatioTemporalFactor, modify_graph
from unreid.constraints.pseudo_labels import load_pseudo_labels, save_pseudo_labels
from unreid.constraints.records import Records, describe, record_keys, shared_tracks
from unreid.constraints.relation_file import RelationFile, read_relation, save_relation
from unreid.constraints.relations import DenseRelation, Overlap, Plausibility, Relation, SameCamera
from unreid.constraints.review_file import load_answers
from unreid.constraints.travel import TravelTable, learn_travel, travel_from_times

__all__ = [
    "OVERLAP_PENALTY",
    "Answers",
    "DenseRelation",
    "Links",
    "Modifier",
    "Overlap",
    "Plausibility",
    "Records",
    "Relation",
    "RelationFile",
    "SameCamera",
    "Penalty",
    "SpatioTemporalFactor",
    "TrainConstraints",
    "TravelTable",
    "describe",
    "learn_travel",
    "load_answers",
    "load_pseudo_labels",
    "mine_overlaps",
    "modify_graph",
    "passes_of_clusters",
    "query_gallery_modifiers",
    "read_relation",
    "record_keys",
    "save_pseudo_labels",
    "save_relation",
    "shared_tracks",
    "train_constraints",
    "travel_from_times",
]
