"""BUC's bottom-up merging: every sample starts as its own cluster, and each round unites the closest ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unreid.clustering.bottom_up_edges import Edges
from unreid.clustering.bottom_up_search import PairSearch, lightest_by_maximum
from unreid.neighbors.torch_search import full_precision
from unreid.structures import Clustering
from unreid.utils.arrays import as_rows
from unreid.utils.means import segment_means
from unreid.utils.settings import settings
from unreid.utils.state import StateError, entries, require_labels

DISTANCES = ("sqeuclidean", "euclidean")
LINKAGES = ("min", "centroid", "max")
_EPSILON = 1e-9  # keeps a product such as 100 * 0.29 from losing a whole unit to rounding


def merges_per_round(num_samples: int, merge_percent: float) -> int:
    """Clusters removed by one merge, at least 1: ``N * merge_percent`` rounded down, as in the published code."""
    return max(1, math.floor(num_samples * merge_percent + _EPSILON))


def num_rounds(merge_percent: float) -> int:
    """Training rounds that leave at least one merge's worth of clusters: ``floor(1 / merge_percent) - 1``."""
    return max(1, math.floor(1 / merge_percent + _EPSILON) - 1)


@full_precision()
def merge_clusters(
    features: Tensor,
    labels: Tensor,
    num_merges: int,
    *,
    size_penalty: float = 0.003,
    distance: str = "sqeuclidean",
    linkage: str = "min",
    block: int = 1024,
    pool_factor: int = 8,
) -> Tensor:
    """One merge of BUC (Lin et al., AAAI 2019): the partition with ``num_merges`` clusters less.

    All weights are fixed before the first union: for samples i, j of clusters A != B it is
    ``d(x_i, x_j) + size_penalty * (|A| + |B|)``. Pairs are visited by ascending (weight, i, j); each unites the two
    clusters that hold its ends now; the merge ends after ``num_merges`` unions. With linkage "centroid" or "max" the
    pairs are pairs of clusters, at the distance of their means or of their farthest samples.

    Args:
        features: float (N, D), on any device.
        labels: int64 (N,), the current partition; any numbering without negatives.
        num_merges: unions, m; one cluster is always left.
        size_penalty: weight lambda of the size term.
        distance: "sqeuclidean" or "euclidean".
        linkage: "min", "centroid" or "max".
        block: rows of the distance matrix computed at once, at most.
        pool_factor: edges held at once, as a multiple of ``num_merges``.

    Returns:
        int64 (N,) on CPU, clusters numbered 0..C-m-1 by their smallest sample index.

    Raises:
        ValueError: for features that are not finite, labels of another length, or an unknown option.
    """
    if distance not in DISTANCES or linkage not in LINKAGES:
        raise ValueError(f"distance {distance!r} is not in {DISTANCES} or linkage {linkage!r} not in {LINKAGES}")
    features = as_rows(features)
    if len(features) != len(labels):
        raise ValueError(f"{len(features)} features, but {len(labels)} labels")
    features = features.detach().float()
    if not bool(torch.isfinite(features).all()):
        raise ValueError("features that are not finite cannot be merged: the training has diverged")
    labels = _by_first_occurrence(labels.cpu())
    num_clusters = int(labels.max()) + 1
    count = min(num_merges, num_clusters - 1)
    if count < 1:
        return labels
    penalty = size_penalty * torch.bincount(labels).double()
    squared, capacity = distance == "sqeuclidean", pool_factor * num_merges
    clusters = torch.arange(num_clusters)
    if linkage == "max" and num_clusters < len(labels):
        edges = lightest_by_maximum(features, labels, penalty, count, capacity, squared=squared, block=block)
    elif linkage == "centroid":
        means, _ = segment_means(features, labels, num_clusters, dtype=torch.float64)
        edges = PairSearch(means.float(), clusters, penalty, squared=squared, block=block).lightest(count, capacity)
    else:
        search = PairSearch(features, labels, penalty[labels], squared=squared, block=block)
        edges = search.lightest(count, capacity)
        edges = Edges(edges.weight, labels.numpy()[edges.i], labels.numpy()[edges.j])
    return _by_first_occurrence(_unite(edges, num_clusters)[labels])


class BottomUpPartition:
    """The partition of BUC over the rounds of a run; round 0 has a cluster for every sample.

    Args:
        num_samples: N.
        merge_percent: share of N that one merge removes.
        rounds: training rounds; 0 for the rule of :func:`num_rounds`.
        merging: options of :func:`merge_clusters`.

    Attributes:
        labels: int64 (N,) on CPU, the current partition.
        merges: clusters removed per merge, m.
    """

    def __init__(self, num_samples: int, *, merge_percent: float = 0.05, rounds: int = 0, **merging: Any) -> None:
        if not 0 < merge_percent < 1:
            raise ValueError(f"merge_percent must lie between 0 and 1, got {merge_percent}")
        self.labels = torch.arange(num_samples)
        self.merges = merges_per_round(num_samples, merge_percent)
        self.rounds = rounds or num_rounds(merge_percent)
        self.merging = merging

    @classmethod
    def from_config(cls, cfg: Any, num_samples: int) -> BottomUpPartition:
        node = cfg.METHOD.BUC
        merging = settings(node.MERGE, "DISTANCE", "LINKAGE")
        return cls(num_samples, **settings(node, "MERGE_PERCENT", "SIZE_PENALTY", "ROUNDS"), **merging)

    @property
    def num_clusters(self) -> int:
        """C of the current partition."""
        return int(self.labels.max()) + 1 if len(self.labels) else 0

    def merge(self, features: Tensor) -> Tensor:
        """Merges once on ``features`` (N, D), as they are after this round's training; returns the new labels."""
        self.labels = merge_clusters(features, self.labels, self.merges, **self.merging)
        return self.labels

    def clustering(self) -> Clustering:
        """The current partition; it has no outliers and leaves centroids to the memory."""
        return Clustering(self.labels.clone(), self.num_clusters)

    def state_dict(self) -> dict[str, Tensor]:
        """The partition."""
        return {"labels": self.labels.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Raises :class:`~unreid.utils.state.StateError` for what is no partition of as many samples."""
        entries(state, "the state of the merging", {"labels": Tensor})
        require_labels(state["labels"], "the partition")
        if state["labels"].shape != self.labels.shape:
            raise StateError(f"the partition is one of {len(state['labels'])} samples, not of {len(self.labels)}")
        self.labels = state["labels"].cpu().clone()


def _unite(edges: Edges, num_clusters: int) -> Tensor:
    """int64 (C,): number of the united cluster that each of the C clusters belongs to."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    graph = csr_array((np.ones(len(edges)), (edges.i, edges.j)), shape=(num_clusters, num_clusters))
    return torch.from_numpy(connected_components(graph, directed=False)[1].astype(np.int64))


def _by_first_occurrence(labels: Tensor) -> Tensor:
    """Renumbers labels 0..C-1 by the smallest sample index of each cluster."""
    _, first, inverse = np.unique(labels.numpy(), return_index=True, return_inverse=True)
    position = np.empty(len(first), np.int64)
    position[np.argsort(first)] = np.arange(len(first))
    return torch.from_numpy(position[inverse.reshape(-1)])
