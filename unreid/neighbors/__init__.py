"""Nearest neighbours and the pair graphs made from them."""

from unreid.neighbors.knn import knn

__all__ = ["knn"]
