"""Clusterers: features or a pair graph in, pseudo labels out."""

from unreid.clustering.agreement import AgreementDBSCAN
from unreid.clustering.base import CLUSTERERS, Clusterer
from unreid.clustering.bottom_up import BottomUpPartition
from unreid.clustering.bottom_up_clusterer import BottomUp
from unreid.clustering.build import build_clusterer, constrain, inner_clusterers
from unreid.clustering.constrained_dbscan import ConstrainedDBSCAN
from unreid.clustering.dbscan import DBSCAN, dbscan
from unreid.clustering.follow_answers import FollowAnswers, follow_answers
from unreid.clustering.hdc.clusterer import HDC
from unreid.clustering.infomap import Infomap
from unreid.clustering.keep_apart import KeepApart, keep_apart
from unreid.clustering.kmeans import KMeans
from unreid.clustering.per_camera import PerCameraDBSCAN
from unreid.clustering.scheduled import ScheduledClusterer
from unreid.clustering.self_paced import SelfPacedDBSCAN
from unreid.clustering.size_filter import SizeFilter
from unreid.clustering.sklearn_adapter import SklearnClusterer

__all__ = [
    "CLUSTERERS",
    "DBSCAN",
    "HDC",
    "AgreementDBSCAN",
    "BottomUp",
    "BottomUpPartition",
    "Clusterer",
    "ConstrainedDBSCAN",
    "FollowAnswers",
    "Infomap",
    "KMeans",
    "KeepApart",
    "PerCameraDBSCAN",
    "ScheduledClusterer",
    "SelfPacedDBSCAN",
    "SizeFilter",
    "SklearnClusterer",
    "build_clusterer",
    "constrain",
    "dbscan",
    "follow_answers",
    "inner_clusterers",
    "keep_apart",
]
