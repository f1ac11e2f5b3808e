"""Nearest neighbours and the pair graphs made from them."""

from unreid.neighbors.builder import METRICS, Metric, PairGraphBuilder
from unreid.neighbors.camera_centering import camera_centered
from unreid.neighbors.camera_jaccard import camera_jaccard_graph
from unreid.neighbors.jaccard import jaccard_distance, jaccard_graph
from unreid.neighbors.knn import KNN_BACKENDS, knn
from unreid.neighbors.metric import metric_graph
from unreid.neighbors.metrics import CameraJaccard, Cosine, Euclidean, Jaccard

__all__ = [
    "KNN_BACKENDS",
    "METRICS",
    "CameraJaccard",
    "Cosine",
    "Euclidean",
    "Jaccard",
    "Metric",
    "PairGraphBuilder",
    "camera_centered",
    "camera_jaccard_graph",
    "jaccard_distance",
    "jaccard_graph",
    "knn",
    "metric_graph",
]
