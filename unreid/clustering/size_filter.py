"""Turns the members of small clusters into outliers, as 3C does after HDC and k-means."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from unreid.clustering.base import Clusterer
from unreid.clustering.corrected import CorrectedClusterer
from unreid.structures import Clustering


class SizeFilter(CorrectedClusterer):
    """Another clusterer's labels without clusters of fewer than ``min_size`` members."""

    def __init__(self, clusterer: Clusterer, min_size: int) -> None:
        super().__init__(clusterer)
        self.min_size = min_size

    def correct(self, clustering: Clustering, features: Tensor) -> Clustering:
        return drop_small_clusters(clustering, self.min_size)


def drop_small_clusters(clustering: Clustering, min_size: int) -> Clustering:
    """Clusters with fewer than ``min_size`` members become outliers; survivors are renumbered in ascending order.

    Centroids of survivors are kept. Ids that no sample bears any more disappear with the small ones (the published
    code leaves such gaps and points targets at wrong rows).
    """
    labels = clustering.labels
    members = labels[labels >= 0]
    sizes = torch.bincount(members, minlength=clustering.num_clusters)
    kept = sizes >= max(min_size, 1)
    number = torch.where(kept, kept.cumsum(0) - 1, -1)
    renumbered = torch.where(labels >= 0, number[labels.clamp(min=0)], -1) if len(number) else labels.clone()
    centroids = clustering.centroids
    return replace(
        clustering,
        labels=renumbered,
        num_clusters=int(kept.sum()),
        centroids=None if centroids is None else centroids[kept.to(centroids.device)],
    )
