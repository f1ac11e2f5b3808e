"""Nearest neighbours and the pair graphs made from them."""

from unreid.neighbors.builder import PairGraphBuilder
from unreid.neighbors.camera_centering import camera_centered
from unreid.neighbors.camera_jaccard import camera_jaccard_graph
from unreid.neighbors.jaccard import jaccard_distance, jaccard_graph
from unreid.neighbors.knn import knn
from unreid.neighbors.metric import metric_graph

__all__ = [
    "PairGraphBuilder",
    "camera_centered",
    "camera_jaccard_graph",
    "jaccard_distance",
    "jaccard_graph",
    "knn",
    "metric_graph",
]
