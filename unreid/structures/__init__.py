"""The records that the rooms of the package exchange. Nothing here computes more than a shape.

Torch is imported where it is used: datasets are found, and mistakes in a config named, without its seconds of loading.
"""

from unreid.structures.clustering import Clustering
from unreid.structures.pair_graph import DENSE_ROWS, PairGraph
from unreid.structures.samples import Batch, GroundTruth, ModelOutput, Tracklet, camids_of
from unreid.structures.training import Position, RoundPlan, StepOutput

__all__ = [
    "DENSE_ROWS",
    "Batch",
    "Clustering",
    "GroundTruth",
    "ModelOutput",
    "PairGraph",
    "Position",
    "RoundPlan",
    "StepOutput",
    "Tracklet",
    "camids_of",
]
