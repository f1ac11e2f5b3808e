"""Turns the members of small clusters into outliers, as 3C does after HDC and k-means."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unreid.clustering.base import Clusterer
from unreid.structures import Clustering, PairGraph


class SizeFilter(Clusterer):
    """Another clusterer's labels without clusters of fewer than ``min_size`` members."""

    def __init__(self, clusterer: Clusterer, min_size: int) -> None:
        self.clusterer = clusterer
        self.min_size = min_size
        self.graph_builder = clusterer.graph_builder

    @property
    def radius(self) -> float | None:
        return self.clusterer.radius

    def cluster(
        self,
        features: Tensor,
        graph: PairGraph | None,
        *,
        round: int = 0,
        seed: int = 0,
        camids: Tensor | None = None,
    ) -> Clustering:
        found = self.clusterer.cluster(features, graph, round=round, seed=seed, camids=camids)
        return drop_small_clusters(found, self.min_size)

    def state_dict(self) -> dict[str, Any]:
        return self.clusterer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.clusterer.load_state_dict(state)


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
    return Clustering(
        renumbered,
        int(kept.sum()),
        centroids=None if centroids is None else centroids[kept.to(centroids.device)],
        core=clustering.core,
        extras=clustering.extras,
        features=clustering.features,
    )
