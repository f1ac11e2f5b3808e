"""Blockwise search for the lightest edges between clusters, by minimum or maximum linkage."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unreid.clustering.bottom_up_edges import Edges, ForestPool, forest

_BLOCK_ENTRIES = 1 << 22  # entries of a block at most: if all of them are duplicates, each becomes a proposal
_PILOT_ROWS = 64  # rows whose pairs give the first bound
_FLOOD = 1 << 18  # proposals of one block beyond which they are thinned before their weights are recomputed
_ROUNDING = 2.0**-15  # slack for the rounding of |x|^2 + |y|^2 - 2<x, y>, relative to the largest |x|^2
_CACHED_ELEMENTS = 1 << 17  # entries of a buffer that still fit into a CPU core's cache


class PairSearch:
    """Pairs of nodes weighted ``w_ij = d(x_i, x_j) + penalty_i + penalty_j``; the cluster linkage is the minimum.

    Blocks of a float32 matrix product propose the pairs that may lie below the current bound; their weights are then
    computed from differences, with float64 sums rounded to float32, so that they depend neither on blocks nor on the
    device nor on the order of the samples, and duplicates tie exactly. Only when masses of duplicates flood a block
    are its proposals first thinned to their spanning forest in the rounded weights.

    Args:
        features: float32 (N, D), finite.
        cluster: int64 (N,), cluster 0..C-1 of each node, on CPU.
        penalty: float64 (N,), >= 0, on CPU.
        squared: d is the squared Euclidean distance; otherwise its root.
        block: rows of the product computed at once, at most.
    """

    def __init__(
        self, features: Tensor, cluster: Tensor, penalty: Tensor, *, squared: bool = True, block: int = 1024
    ) -> None:
        self._features = features
        self._cluster = cluster.numpy()
        self._penalty = penalty.to(features.device)
        self._squared = squared
        self._block = min(block, max(_PILOT_ROWS, _BLOCK_ENTRIES // len(features)))
        self._norm = features.square().sum(1)
        self._slack = _ROUNDING * float(self._norm.max())

    def lightest(self, count: int, capacity: int) -> Edges:
        """The first ``count`` edges of the minimum spanning forest; ``capacity`` is that of the pool."""
        n = len(self._features)
        pool = ForestPool(self._cluster, count, capacity)
        pilot = self._propose(slice(0, min(n, self._block, _PILOT_ROWS)), np.inf)
        pool.add(self._weigh(forest(pilot, self._cluster)[:count]))
        least = float((2 * self._penalty.min()).float())
        for start in range(0, n, self._block):
            proposals = self._propose(slice(start, min(n, start + self._block)), pool.bound)
            if len(proposals) > _FLOOD:
                proposals = forest(proposals, self._cluster)
            pool.add(self._weigh(proposals))
            if pool.bound <= least:  # no weight can be smaller, and at equal weight earlier rows come first
                break
        return pool.lightest()

    def _propose(self, rows: slice, bound: float) -> Edges:
        """Pairs i < j of different clusters, i in ``rows``, that may weigh up to ``bound``; with lower bounds."""
        first = rows.start
        lower = torch.addmm(self._norm[first:], self._features[rows], self._features[first:].T, alpha=-2)
        lower.add_(self._norm[rows, None] - self._slack).clamp_(min=0)
        if not self._squared:
            lower.sqrt_()
        penalty = self._penalty.float()
        lower.add_(penalty[rows, None]).add_(penalty[first:])
        # The penalties' own rounding is far below the slack, but the slack is gone where the distance is clamped to 0.
        i, j = torch.nonzero(lower <= bound * (1 + 1e-6), as_tuple=True)
        edges = Edges(*(part.cpu().numpy() for part in (lower[i, j], i + first, j + first)))
        return edges[(edges.i < edges.j) & (self._cluster[edges.i] != self._cluster[edges.j])]

    def _weigh(self, edges: Edges) -> Edges:
        """The same pairs with weights from differences."""
        device = self._features.device
        i, j = torch.from_numpy(edges.i).to(device), torch.from_numpy(edges.j).to(device)
        weight = self._features.new_empty(len(edges))
        entries = _CACHED_ELEMENTS * (64 if device.type == "cuda" else 1)
        step = max(1, entries // max(self._features.shape[1], 1))
        for start in range(0, len(edges), step):
            a, b = i[start : start + step], j[start : start + step]
            difference = self._features.index_select(0, a).sub_(self._features.index_select(0, b))
            distance = difference.square_().sum(1, dtype=torch.float64)
            if not self._squared:
                distance.sqrt_()
            weight[start : start + step] = distance + self._penalty[a] + self._penalty[b]
        return Edges(weight.cpu().numpy(), edges.i, edges.j)


def lightest_by_maximum(
    features: Tensor, labels: Tensor, penalty: Tensor, count: int, capacity: int, *, squared: bool, block: int
) -> Edges:
    """The first ``count`` edges of the minimum spanning forest of clusters under maximum linkage.

    The weight of clusters A, B is the largest distance between their samples plus ``penalty_A + penalty_B``, from a
    float32 matrix product. Rows are sorted by cluster and cut between clusters, so that every block of cluster rows is
    complete: no C x C matrix is held.

    Args:
        features: float32 (N, D), finite.
        labels: int64 (N,), 0..C-1 without holes, on CPU.
        penalty: float64 (C,), on CPU.
        count, capacity: see :class:`~unreid.clustering.bottom_up_edges.ForestPool`.
        squared: squared Euclidean distances, or their root.
        block: rows of the product computed at once (more only where one cluster is larger).

    Returns:
        edges between clusters.
    """
    device = features.device
    order = torch.argsort(labels, stable=True)
    rows, owner = features[order.to(device)], labels[order].to(device)
    norm, penalties = rows.square().sum(1), penalty.float().to(device)
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), torch.bincount(labels).cumsum(0)]).tolist()
    num_clusters = len(penalty)
    pool = ForestPool(np.arange(num_clusters), count, capacity)
    low = 0
    while low < num_clusters:
        high = low + 1
        while high < num_clusters and starts[high + 1] - starts[low] <= block:
            high += 1
        begin, part = starts[low], slice(starts[low], starts[high])
        squares = torch.addmm(norm[begin:], rows[part], rows[begin:].T, alpha=-2).add_(norm[part, None])
        by_column = squares.new_zeros(len(squares), num_clusters - low)
        by_column.scatter_reduce_(1, (owner[begin:] - low).expand_as(squares), squares, "amax")
        largest = by_column.new_zeros(high - low, num_clusters - low)
        largest.scatter_reduce_(0, (owner[part, None] - low).expand_as(by_column), by_column, "amax")
        weight = (largest if squared else largest.sqrt_()) + penalties[low:high, None] + penalties[low:]
        i, j = torch.nonzero((weight <= pool.bound).triu_(1), as_tuple=True)
        pool.add(Edges(*(part.cpu().numpy() for part in (weight[i, j], i + low, j + low))))
        low = high
    return pool.lightest()
