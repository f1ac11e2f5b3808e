"""The harmonic pass: which member of each cluster speaks for it, seen from each sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_CACHED_ELEMENTS = 1 << 17  # entries of a buffer of which five still fit into a CPU core's cache
_LONGEST_PIECE = 64  # members folded one after the other; larger clusters are cut, which bounds the number of steps


def discrepancy_(distance: Tensor, block: int = 1024) -> Tensor:
    """Overwrites distances (N, N) by ``clip(1 - exp(-d), 0, 1)``, NaN by 1, and returns the same tensor (3C, HDC).

    This is the only N x N array of the whole algorithm.
    """
    for rows in distance.split(block):
        rows.neg_().exp_().neg_().add_(1).clamp_(0, 1).nan_to_num_(nan=1.0)
    return distance


def harmonic_discrepancy(
    disc: Tensor, confidence: Tensor, labels: Tensor, num_clusters: int, *, block: int = 1024
) -> Tensor:
    """3C's ``hd(i, j) = a_ik*`` with ``k* = argmax over the members k of j of a_ik c_k / (a_ik + c_k)``.

    The member that is at once far from sample i and central in cluster j speaks for j. The sample itself is a
    candidate; the lowest index wins a tie. The harmonic terms are evaluated in float32 in the order written, whatever
    the block, so the result does not depend on it by a single bit.

    Rows of the symmetric ``disc`` are gathered instead of columns: copies of whole rows and a running maximum over
    the members of many clusters at once, a few buffers of at most ``block`` rows, no sort and no atomics.

    Args:
        disc: float32 (N, N), sample discrepancies a in [0, 1], symmetric.
        confidence: float32 (N,), c_k in [0, 1] of every sample in its own cluster.
        labels: int64 (N,), own clusters; -1 marks samples that speak for no cluster.
        num_clusters: C.
        block: rows of ``disc`` copied at once, at most.

    Returns:
        float32 (N, C), a transposed view of a contiguous (C, N) tensor; 1.0 in the columns of empty clusters, which
        lets relocation refill them.
    """
    return HarmonicPass(disc, num_clusters, block=block)(confidence, labels)


class HarmonicPass:
    """:func:`harmonic_discrepancy` called again and again: clusters whose members and confidences are those of the
    last call keep their column, which near convergence leaves little to do and changes no bit.

    Args:
        disc, num_clusters, block: as above; ``disc`` is kept, not copied.
    """

    def __init__(self, disc: Tensor, num_clusters: int, *, block: int = 1024) -> None:
        self._disc = disc
        self._block = block
        self._result = disc.new_ones(num_clusters, len(disc))
        self._confidence = disc.new_zeros(len(disc))
        self._labels = torch.full((len(disc),), -1, device=disc.device)

    def __call__(self, confidence: Tensor, labels: Tensor) -> Tensor:
        """float32 (N, C) for confidences (N,) and labels (N,); overwritten by the next call."""
        num_clusters = len(self._result)
        moved = (labels != self._labels) | (confidence != self._confidence)
        stale = torch.zeros(num_clusters + 1, dtype=torch.bool, device=labels.device)  # the last entry is label -1
        stale[labels[moved]] = True
        stale[self._labels[moved]] = True
        self._result[stale[:-1]] = 1.0
        _fill(self._result, self._disc, confidence, labels.masked_fill(~stale[labels], -1), self._block)
        self._confidence, self._labels = confidence.clone(), labels.clone()
        return self._result.T


def _fill(result: Tensor, disc: Tensor, confidence: Tensor, labels: Tensor, block: int) -> None:
    """Writes the row of every cluster that occurs in ``labels`` into ``result`` (C, N)."""
    n, device = len(disc), disc.device
    plan = _plan(labels, len(result))
    rows = block if disc.is_cuda else max(1, min(block, torch.get_num_threads() * _CACHED_ELEMENTS // max(n, 1)))
    buffers = _Buffers.allocate(min(rows, len(plan.cluster)), n, disc)
    cut = torch.unique(plan.cluster[plan.part > 0])
    slot = torch.full((len(result),), -1)
    slot[cut] = torch.arange(len(cut))
    top = disc.new_zeros(len(cut), n)  # harmonic terms of the clusters whose pieces are still to be compared
    for start in range(0, len(plan.cluster), rows):
        pieces = slice(start, start + rows)
        _speak(disc, confidence, plan.order, plan.begin[pieces], plan.length[pieces], buffers)
        cluster, part = plan.cluster[pieces], plan.part[pieces]
        first = torch.nonzero(part == 0).squeeze(1)
        result[cluster[first].to(device)] = buffers.best_disc[first.to(device)]
        for piece in torch.nonzero(slot[cluster] >= 0).squeeze(1).tolist():
            row, table = result[int(cluster[piece])], top[int(slot[cluster[piece]])]
            if part[piece] == 0:
                table.copy_(buffers.best_term[piece])
            else:
                _take_better(row, table, buffers.best_disc[piece], buffers.best_term[piece], buffers.spare[0])


@dataclass(frozen=True)
class _Plan:
    """Members of clusters in pieces of at most ``_LONGEST_PIECE``, longest piece first, pieces of a cluster in order.

    ``order`` (on the device of the labels) lists samples by (cluster, index); piece t covers ``length[t]`` entries of
    it from ``begin[t]`` on and is part ``part[t]`` of cluster ``cluster[t]`` (all on CPU).
    """

    order: Tensor
    begin: Tensor
    length: Tensor
    cluster: Tensor
    part: Tensor


def _plan(labels: Tensor, num_clusters: int) -> _Plan:
    order = torch.argsort(labels, stable=True)
    counts = torch.bincount(labels + 1, minlength=num_clusters + 1).cpu()
    start, counts = (counts.cumsum(0) - counts)[1:], counts[1:]
    parts = (counts + _LONGEST_PIECE - 1) // _LONGEST_PIECE
    cluster = torch.repeat_interleave(torch.arange(num_clusters), parts)
    part = torch.arange(len(cluster)) - torch.repeat_interleave(parts.cumsum(0) - parts, parts)
    length = (counts[cluster] - part * _LONGEST_PIECE).clamp(max=_LONGEST_PIECE)
    begin = start[cluster] + part * _LONGEST_PIECE
    longest_first = torch.argsort(length, descending=True, stable=True)
    return _Plan(order, begin[longest_first], length[longest_first], cluster[longest_first], part[longest_first])


@dataclass(frozen=True)
class _Buffers:
    """Work space of :func:`_speak`, all float32 (rows, N)."""

    disc: Tensor
    term: Tensor
    spare: Tensor
    best_disc: Tensor
    best_term: Tensor

    @classmethod
    def allocate(cls, rows: int, n: int, like: Tensor) -> _Buffers:
        return cls(*(like.new_empty(rows, n) for _ in range(5)))


def _speak(disc: Tensor, confidence: Tensor, order: Tensor, begin: Tensor, length: Tensor, buffers: _Buffers) -> None:
    """Fills ``best_disc`` and ``best_term``: discrepancy and harmonic term of the best member, a row a piece."""
    begin = begin.to(disc.device)
    smallest = torch.finfo(disc.dtype).tiny
    for rank in range(int(length[0])):
        live = int((length > rank).sum())  # pieces are sorted by length: those with such a member come first
        members = order[begin[:live] + rank]
        a, term, spare = buffers.disc[:live], buffers.term[:live], buffers.spare[:live]
        best_disc, best_term = buffers.best_disc[:live], buffers.best_term[:live]
        if rank == 0:
            a, term = best_disc, best_term
        c = confidence[members].unsqueeze(1)
        torch.index_select(disc, 0, members, out=a)
        torch.add(a, c.clamp(min=smallest), out=spare)  # 0/0 would otherwise make a duplicate of c = 0 a NaN
        torch.mul(a, c, out=term).div_(spare)
        if rank > 0:
            _take_better(best_disc, best_term, a, term, spare)


def _take_better(best_disc: Tensor, best_term: Tensor, disc: Tensor, term: Tensor, spare: Tensor) -> None:
    """Replaces the best by the candidate where its term is larger, in place.

    The comparison goes into a float tensor and the choice through lerp, which is exact for the weights 0 and 1:
    on CPU both run several times faster than a boolean mask with ``where``.
    """
    torch.gt(term, best_term, out=spare)
    best_disc.lerp_(disc, spare)
    torch.maximum(best_term, term, out=best_term)
