"""Builds the pair graph that a config describes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unreid.neighbors.jaccard import jaccard_graph, list_width
from unreid.neighbors.knn import knn
from unreid.neighbors.metric import metric_graph
from unreid.structures import PairGraph
from unreid.utils.arrays import ArrayLike, as_features
from unreid.utils.distributed import all_gather_rows, get_rank, get_world_size


@dataclass(frozen=True)
class PairGraphBuilder:
    """Features in, pair graph out; with several processes each searches the neighbours of its share of the rows.

    Attributes:
        metric: "jaccard", "euclidean" or "cosine"; all but ``tol`` is for the first only.
        tol, k1, k2, k1_includes_self, backend, knn_backend, nprobe, ef_search: see
            :func:`~unreid.neighbors.jaccard.jaccard_graph`.
    """

    metric: str = "jaccard"
    tol: float = 1e-6
    k1: int = 30
    k2: int = 6
    k1_includes_self: bool = True
    backend: str = "auto"
    knn_backend: str = "torch"
    nprobe: int = 32
    ef_search: int = 128

    @classmethod
    def from_config(cls, cfg: Any) -> PairGraphBuilder:
        """Reads ``CLUSTER.{METRIC,TOL,K1,K2,K1_INCLUDES_SELF,BACKEND,KNN.*}``."""
        node = cfg.CLUSTER
        return cls(
            metric=node.METRIC,
            tol=node.TOL,
            k1=node.K1,
            k2=node.K2,
            k1_includes_self=node.K1_INCLUDES_SELF,
            backend=node.BACKEND,
            knn_backend=node.KNN.BACKEND,
            nprobe=node.KNN.NPROBE,
            ef_search=node.KNN.EF_SEARCH,
        )

    def __call__(self, features: ArrayLike, radius: float) -> PairGraph:
        """Every pair up to ``radius``, of (N, D) features that are the same on every process."""
        features = as_features(features)
        if self.metric != "jaccard":
            return metric_graph(features, metric=self.metric, radius=radius, tol=self.tol)
        return jaccard_graph(
            features,
            k1=self.k1,
            k2=self.k2,
            k1_includes_self=self.k1_includes_self,
            radius=radius,
            tol=self.tol,
            backend=self.backend,
            neighbors=self._search(features) if get_world_size() > 1 else None,
            knn_backend=self.knn_backend,
            nprobe=self.nprobe,
            ef_search=self.ef_search,
        )

    def assist(self, features: Tensor) -> None:
        """Takes part in the search of the process that builds the graph; for all processes that do not."""
        if self.metric == "jaccard":
            self._search(features)

    def _search(self, features: Tensor) -> tuple[Tensor, Tensor]:
        rank, world = get_rank(), get_world_size()
        n = len(features)
        share = torch.arange(n * rank // world, n * (rank + 1) // world, device=features.device)
        width = min(list_width(self.k1, self.k1_includes_self), n)
        distance, index = knn(
            features,
            width,
            queries=share,
            backend=self.knn_backend,
            nprobe=self.nprobe,
            ef_search=self.ef_search,
        )
        return all_gather_rows(distance), all_gather_rows(index)
