"""HDC on the pairs of a graph: the distances and the harmonic pass without an N x N matrix.

Most pairs of a Jaccard graph share no neighbour and are at distance 1. All of them have the same discrepancy, so of the
far members of a cluster only the most confident one can speak for it: what is left to look at are the listed pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unreid.clustering.hdc.harmonic import discrepancy_
from unreid.structures import PairGraph

_BITS = 62  # ranks of a cluster's members that fit into one integer beside the sign


class SparseDistances:
    """The rows of ``graph.to_dense()``, made when they are asked for.

    Memory: 16 bytes for each of the 2 E + N entries.

    Args:
        graph: without ``beyond``, so that all that is not listed is at distance 1.
    """

    def __init__(self, graph: PairGraph) -> None:
        own = torch.arange(graph.n, device=graph.i.device)
        row, column = torch.cat((graph.i, graph.j, own)), torch.cat((graph.j, graph.i, own))
        order = torch.argsort(row * graph.n + column)
        self.row, self.column = row[order], column[order]
        self.value = torch.cat((graph.dist, graph.dist, graph.self_dist))[order]
        self.start = torch.zeros(graph.n + 1, dtype=torch.int64, device=row.device)
        self.start[1:] = torch.bincount(self.row, minlength=graph.n).cumsum(0)
        self.device = row.device

    def __len__(self) -> int:
        return len(self.start) - 1

    def __getitem__(self, rows: int | Tensor) -> Tensor:
        """float32 (N,) of one row, or (k, N) of int64 rows (k,)."""
        if isinstance(rows, int):
            return self[torch.tensor([rows], device=self.device)][0]
        dense = self.value.new_ones(len(rows), len(self))
        entry, owner = self._entries(rows)
        dense[owner, self.column[entry]] = self.value[entry]
        return dense

    def index_select(self, dim: int, columns: Tensor) -> Tensor:
        """float32 (N, k): columns of the symmetric matrix, as a tensor's method of that name gives them."""
        if dim != 1:
            raise ValueError("only columns are selected: rows are indexed")
        dense = self.value.new_ones(len(self), len(columns))
        entry, owner = self._entries(columns)
        dense[self.column[entry], owner] = self.value[entry]
        return dense

    def _entries(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Positions of the entries of some rows, and which of the rows each belongs to."""
        first, count = self.start[rows], self.start[rows + 1] - self.start[rows]
        owner = torch.repeat_interleave(torch.arange(len(rows), device=self.device), count)
        before = count.cumsum(0) - count
        return torch.arange(len(owner), device=self.device) + (first - before)[owner], owner


class SparseHarmonicPass:
    """:class:`~unreid.clustering.hdc.harmonic.HarmonicPass` on listed pairs: O(E + N C) work and memory.

    The entries are those of the dense pass bit for bit, except where the harmonic terms of a listed and of an unlisted
    member are equal to the last bit, where it may choose another one of the two.

    Args:
        dist: see :class:`SparseDistances`.
        num_clusters: C.
    """

    def __init__(self, dist: SparseDistances, num_clusters: int) -> None:
        self._dist, self._clusters = dist, num_clusters
        self._disc = discrepancy_(dist.value.clone(), len(dist.value))
        self._far = discrepancy_(dist.value.new_ones(1))

    def __call__(self, confidence: Tensor, labels: Tensor) -> Tensor:
        """float32 (N, C) for confidences (N,) in [0, 1] and labels int64 (N,) in 0..C-1."""
        size = len(self._dist) * self._clusters
        cluster = labels[self._dist.column]
        key = self._dist.row * self._clusters + cluster
        term = _term(self._disc, confidence[self._dist.column])
        best = term.new_full((size,), -1.0).scatter_reduce_(0, key, term, "amax")
        leads = torch.nonzero(term == best[key]).squeeze(1)
        winner = torch.full((size,), len(labels), dtype=torch.int32, device=key.device)
        winner.scatter_reduce_(0, key[leads], self._dist.column[leads].int(), "amin")
        leads = leads[winner[key[leads]] == self._dist.column[leads]]  # one entry a key, the lowest index of a tie
        del winner
        far = self._farthest(key, leads, confidence, labels)
        known = far >= 0
        member = far.clamp(min=0)
        other = _term(self._far, confidence[member])
        wins = known & ((other > term[leads]) | ((other == term[leads]) & (member < self._dist.column[leads])))
        counts = torch.bincount(labels, minlength=self._clusters)
        result = torch.where(counts > 0, self._far, torch.ones_like(self._far)).repeat(len(self._dist))
        result[key[leads]] = torch.where(wins, self._far, self._disc[leads])
        return result.view(len(self._dist), self._clusters)

    def _farthest(self, key: Tensor, leads: Tensor, confidence: Tensor, labels: Tensor) -> Tensor:
        """int64 (k,): for every entry of ``leads`` its cluster's most confident member that its row does not list.

        Members are ranked by confidence; the lowest rank that a row does not list is the lowest bit that is not set.
        """
        order = torch.argsort(confidence, descending=True, stable=True)
        order = order[torch.argsort(labels[order], stable=True)]
        counts = torch.bincount(labels, minlength=self._clusters)
        first = counts.cumsum(0) - counts
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=order.device) - first[labels[order]]
        ranks = rank[self._dist.column]
        missing = torch.zeros(len(leads), dtype=torch.int64, device=key.device)
        open_ = torch.arange(len(leads), device=key.device)
        for begin in range(0, int(counts.max()), _BITS):
            part = (ranks >= begin) & (ranks < begin + _BITS)
            bits = torch.zeros(len(self._dist) * self._clusters, dtype=torch.int64, device=key.device)
            bits.scatter_add_(0, key[part], torch.ones_like(ranks[part]) << (ranks[part] - begin))
            listed = bits[key[leads[open_]]]
            free = torch.log2((~listed & (listed + 1)).double()).long()  # a power of two: exact
            missing[open_] = begin + free
            open_ = open_[free == _BITS]
            if not len(open_):
                break
        group = labels[self._dist.column[leads]]
        place = (first[group] + missing).clamp(max=len(order) - 1)
        return torch.where(missing < counts[group], order[place], -1)


def _term(disc: Tensor, confidence: Tensor) -> Tensor:
    """``a c / (a + c)`` as the dense pass evaluates it, so that the last bits agree."""
    return torch.mul(disc, confidence).div_(disc + confidence.clamp(min=torch.finfo(disc.dtype).tiny))
