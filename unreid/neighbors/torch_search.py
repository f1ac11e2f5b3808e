"""Exact nearest neighbours by blocks of a matrix product, with a proof for every list.

Products of the rows propose ``k + margin`` candidates of each row. Their distances are computed again pair by pair
(``rescoring.py``), and a bound on the rounding of the product then certifies that nothing outside the candidates can
belong into the list. The few rows without a certificate (many duplicates, near-ties at the end of the list) are
searched again among everything that the bound cannot exclude. So the result is the same for every block size, and a
scan in bfloat16 returns the lists of float32.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unreid.neighbors.rescoring import order_candidates, order_pairs, squared_norms
from unreid.neighbors.symmetric_scan import symmetric_candidates
from unreid.utils.progress import tracked

logger = logging.getLogger(__name__)

_SCORE_BYTES = {"cpu": 48 * 2**20, "cuda": 2**30}  # scores held at once
_TILE = {"cpu": 2048, "cuda": 2**14}  # rows of a symmetric tile
_PAIRS = {"cpu": 2**21, "cuda": 2**25}  # candidate pairs of a second search held at once
_MARGIN = {torch.float32: 6, torch.bfloat16: 34}  # candidates beyond k; more for the wider bound
_UNIT = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8}  # unit roundoff

Proposer = Callable[[Tensor, int], tuple[Tensor, Tensor]]
Spans = list[tuple[int, int]]
"""Ranges [start, stop) of rows, ascending and apart from each other."""


@contextmanager
def full_precision() -> Iterator[None]:
    """Products inside are true float32 ones: no TF32, no bfloat16 shortcuts, no autocast."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware (with float32 accumulation)."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@dataclass
class Scorer:
    """Scores ``|y|^2 - 2 <x, y>``: squared distances less the query's own square, which orders nothing."""

    table: Tensor  # (N, D), the rows in the precision of the scan
    square: Tensor  # float32 (N,), squared norms
    bound: Tensor  # float32 (N,), how far a score of this query can be from the truth
    growth: float  # relative error of a float32 sum of D terms, in any order

    @classmethod
    def of(cls, features: Tensor, dtype: torch.dtype) -> Scorer:
        """Rounds the rows to ``dtype`` and derives the bound from what the rounding took away.

        With rows x = a + r and y = b + s, where a and b are the rounded ones, ``|<x,y> - <a,b>| <= |r||y| + |a||s|``;
        the product of a and b errs by at most ``g |a||b|`` with ``g = D u / (1 - D u)`` when it accumulates in float32
        (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), and a bfloat16 result adds its rounding.
        """
        unit, dim = _UNIT[torch.float32], features.shape[1]
        growth = dim * unit / (1 - dim * unit)
        norm = squared_norms(features).sqrt()
        largest = norm.max()
        product = growth * norm * largest
        table = features
        if dtype != torch.float32:
            table = features.to(dtype)
            lost = torch.cat(
                [squared_norms(x - y.float()) for x, y in zip(features.split(4096), table.split(4096))]
            ).sqrt()
            product = 1.02 * product + lost * largest + 1.01 * norm * lost.max()
            if not features.is_cuda:
                product = product + 1.02 * _UNIT[dtype] * norm * largest
        bound = 2 * product + 8 * unit * (largest.square() + 2 * norm * largest)  # sums of squares and products
        return cls(table, norm.square().float(), (1.001 * bound).float(), growth + 4 * unit)

    def scores(self, rows: Tensor | slice, start: int, stop: int) -> Tensor:
        """float32 (Q, stop - start), the queries ``rows`` against the rows from ``start`` to ``stop``."""
        queries, keys = self.table[rows], self.table[start:stop].T
        if self.table.dtype == torch.float32:
            return torch.addmm(self.square[start:stop], queries, keys, alpha=-2)
        if self.table.is_cuda:
            product = torch.mm(queries, keys, out_dtype=torch.float32)
        else:
            product = (queries @ keys).float()
        return product.mul_(-2).add_(self.square[start:stop])

    def squared(self, rows: slice, columns: slice) -> Tensor:
        """float32 squared distances of a tile, as far off as the scores."""
        return self.scores(rows, columns.start, columns.stop).add_(self.square[rows, None])

    def limit(self, rows: Tensor, kth: Tensor) -> Tensor:
        """The score above which a row is certainly farther from the query than ``kth`` (squared distance)."""
        return kth * (1 + self.growth) - self.square[rows] + self.bound[rows]


def exact_search(
    features: Tensor,
    queries: Tensor | None,
    k: int,
    *,
    dtype: torch.dtype = torch.float32,
    block: int = 0,
    spans: Spans | None = None,
    scorer: Scorer | None = None,
) -> tuple[Tensor, Tensor]:
    """Exact lists; arguments and result as :func:`unreid.neighbors.knn`.

    Args:
        features: float32 (N, D), finite.
        queries: int64 (Q,), or None for all rows, which takes half the products (each serves two rows).
        k: width of the lists, at most N (or what the spans hold).
        dtype: precision of the scan, float32 or bfloat16; the lists are those of float32 either way.
        block: query rows scanned at once; 0 chooses by memory.
        spans: neighbours come from these ranges of rows only, which need not hold the queries; None: all rows.
        scorer: :meth:`Scorer.of` the features and ``dtype``, where several searches share it.
    """
    scorer = scorer or Scorer.of(features, dtype)
    if queries is None:
        return _search_all(features, scorer, k, _MARGIN[dtype], block or _TILE.get(features.device.type, 2048))
    budget = _SCORE_BYTES.get(features.device.type, 2**26) // 4
    block = block or min(max(256, budget // len(features)), 4096)
    spans = spans or [(0, len(features))]

    def propose(rows: Tensor, width: int) -> tuple[Tensor, Tensor]:
        return _propose(scorer, rows, width, max(width, budget // len(rows)), spans)

    return certified_lists(features, scorer, queries, k, propose, margin=_MARGIN[dtype], block=block, spans=spans)


def _search_all(features: Tensor, scorer: Scorer, k: int, margin: int, tile: int) -> tuple[Tensor, Tensor]:
    n = len(features)
    found, farthest = symmetric_candidates(scorer.squared, n, min(k + margin, n), tile, features.device)

    def propose(rows: Tensor, width: int) -> tuple[Tensor, Tensor]:
        return found[rows], farthest[rows] - scorer.square[rows]

    every = torch.arange(n, device=features.device)
    return certified_lists(features, scorer, every, k, propose, margin=margin, block=4096)


def certified_lists(
    features: Tensor,
    scorer: Scorer,
    queries: Tensor,
    k: int,
    propose: Proposer,
    *,
    margin: int,
    block: int,
    spans: Spans | None = None,
) -> tuple[Tensor, Tensor]:
    """Exact lists from a search that may err by rounding.

    Args:
        features, queries, k: as :func:`exact_search`.
        scorer: its bound must hold for the scores of ``propose``.
        propose: (rows (Q,), width) -> indices (Q, width) with the row itself among them (if it lies in the spans), and
            score (Q,) that nothing left out falls below.
        margin: candidates beyond k.
        block: query rows proposed for at once.
        spans: as :func:`exact_search`.
    """
    spans = spans or [(0, len(features))]
    n = sum(stop - start for start, stop in spans)
    width = min(k + margin, n)
    distance = features.new_empty(len(queries), k)
    index = queries.new_empty(len(queries), k)
    doubts = []
    starts = range(0, len(queries), block)
    for start in tracked(starts, "neighbour lists", len(starts), "blocks"):
        rows = queries[start : start + block]
        candidates, worst = propose(rows, width)
        found = order_candidates(features, rows, candidates, k)
        distance[start : start + block], index[start : start + block] = found
        if width < n:
            doubts.append(start + (worst <= scorer.limit(rows, found[0][:, -1])).nonzero()[:, 0])
    doubtful = torch.cat(doubts) if doubts else queries[:0]
    if len(doubtful) == 0:
        return distance, index
    logger.debug("%d of %d lists searched a second time", len(doubtful), len(queries))
    for part in doubtful.split(512):
        distance[part], index[part] = _search_again(features, scorer, queries[part], distance[part, -1], k, spans)
    return distance, index


def _propose(scorer: Scorer, rows: Tensor, width: int, columns: int, spans: Spans) -> tuple[Tensor, Tensor]:
    """The ``width`` best scores of each row, itself always among them: indices (Q, width) and the worst score (Q,)."""
    best: Tensor | None = None
    index = rows[:, None]
    for start, stop in _tiles(spans, columns):
        scores = scorer.scores(rows, start, stop)
        own = ((rows >= start) & (rows < stop)).nonzero()[:, 0]
        scores[own, rows[own] - start] = -torch.inf
        tile_best, tile_index = smallest(scores, min(width, stop - start))
        tile_index += start
        if best is None:
            best, index = tile_best, tile_index
        else:
            both = torch.cat([best, tile_best], dim=1)
            best, chosen = both.topk(min(width, both.shape[1]), dim=1, largest=False)
            index = torch.cat([index, tile_index], dim=1).gather(1, chosen)
    assert best is not None
    return index, best.amax(dim=1)


def smallest(scores: Tensor, count: int, group: int = 16) -> tuple[Tensor, Tensor]:
    """The ``count`` smallest entries of each row, unordered: values and column numbers.

    They lie in the ``count`` groups of columns with the smallest minima, so that only those are looked through.
    """
    rows, columns = scores.shape
    groups = columns // group
    if groups < 4 * count:
        return _partition(scores, count)
    body = scores[:, : groups * group].view(rows, group, groups)  # a group is a stride: its minimum is vectorised
    chosen = _partition(body.amin(dim=1), count)[1]
    column = (chosen[:, None, :] + groups * torch.arange(group, device=scores.device)[:, None]).flatten(1)
    tail = torch.arange(groups * group, columns, device=scores.device).expand(rows, -1)
    column = torch.cat([column, tail], dim=1)
    values, best = _partition(scores.gather(1, column), count)
    return values, column.gather(1, best)


def _partition(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` smallest entries of each row, unordered; on a CPU by NumPy in vector instructions."""
    if scores.is_cuda or count >= scores.shape[1]:
        return scores.topk(count, dim=1, largest=False, sorted=False)
    column = torch.from_numpy(np.argpartition(scores.float().numpy(), count - 1, axis=1)[:, :count])
    return scores.gather(1, column), column


def _tiles(spans: Spans, columns: int) -> Iterator[tuple[int, int]]:
    """Ranges of at most ``columns`` rows that make up the spans."""
    for first, last in spans:
        for start in range(first, last, columns):
            yield start, min(start + columns, last)


def _search_again(
    features: Tensor, scorer: Scorer, rows: Tensor, kth: Tensor, k: int, spans: Spans
) -> tuple[Tensor, Tensor]:
    """The lists of ``rows`` among everything whose score does not exceed the limit for distance ``kth`` (Q,)."""
    limit = scorer.limit(rows, kth)[:, None]
    device = features.device.type
    columns = max(1, _SCORE_BYTES.get(device, 2**26) // (4 * len(rows)))
    left, right, total = [], [], 0
    for start, stop in _tiles(spans, columns):
        near = (scorer.scores(rows, start, stop) <= limit).nonzero()
        left.append(near[:, 0])
        right.append(near[:, 1] + start)
        total += len(near)
        if total > _PAIRS.get(device, 2**21) and len(rows) > 1:  # many duplicates: fewer rows at once
            half = len(rows) // 2
            halves = slice(half), slice(half, None)
            parts = [_search_again(features, scorer, rows[part], kth[part], k, spans) for part in halves]
            return torch.cat([parts[0][0], parts[1][0]]), torch.cat([parts[0][1], parts[1][1]])
    pairs = torch.cat(left), torch.cat(right)
    order = pairs[0].argsort(stable=True)
    return order_pairs(features, rows, pairs[0][order], pairs[1][order], k)
