"""Builds the pair graph that a config describes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unreid.neighbors.jaccard import jaccard_graph, list_width
from unreid.neighbors.knn import knn
from unreid.neighbors.metric import metric_graph
from unreid.structures import PairGraph
from unreid.utils.distributed import all_gather_rows, get_rank, get_world_size


class PairGraphBuilder:
    """Features in, pair graph out; with several processes each searches the neighbours of its share of the rows.

    Args:
        metric: "jaccard", "euclidean" or "cosine".
        options: further arguments of :func:`~unreid.neighbors.jaccard.jaccard_graph`.
    """

    def __init__(self, metric: str = "jaccard", *, tol: float = 1e-6, **options: Any) -> None:
        self.metric = metric
        self.tol = tol
        self.options = options

    @classmethod
    def from_config(cls, cfg: Any) -> PairGraphBuilder:
        """Reads ``CLUSTER.{METRIC,TOL,K1,K2,K1_INCLUDES_SELF,BACKEND,KNN.*}``."""
        node = cfg.CLUSTER
        return cls(
            node.METRIC,
            tol=node.TOL,
            k1=node.K1,
            k2=node.K2,
            k1_includes_self=node.K1_INCLUDES_SELF,
            backend=node.BACKEND,
            knn_backend=node.KNN.BACKEND,
            nprobe=node.KNN.NPROBE,
            ef_search=node.KNN.EF_SEARCH,
        )

    def __call__(self, features: Tensor, radius: float) -> PairGraph:
        """Every pair up to ``radius``, of float (N, D) features that are the same on every process."""
        if self.metric != "jaccard":
            return metric_graph(features, metric=self.metric, radius=radius, tol=self.tol)
        neighbors = self._search(features) if get_world_size() > 1 else None
        return jaccard_graph(features, radius=radius, tol=self.tol, neighbors=neighbors, **self.options)

    def assist(self, features: Tensor) -> None:
        """Takes part in the search of the process that builds the graph; for all processes that do not."""
        if self.metric == "jaccard":
            self._search(features)

    def _search(self, features: Tensor) -> tuple[Tensor, Tensor]:
        rank, world = get_rank(), get_world_size()
        n = len(features)
        share = torch.arange(n * rank // world, n * (rank + 1) // world, device=features.device)
        width = min(list_width(self.options.get("k1", 30), self.options.get("k1_includes_self", True)), n)
        search = {
            "backend": self.options.get("knn_backend", "torch"),
            "nprobe": self.options.get("nprobe", 32),
            "ef_search": self.options.get("ef_search", 128),
        }
        distance, index = knn(features, width, queries=share, **search)
        return all_gather_rows(distance), all_gather_rows(index)
