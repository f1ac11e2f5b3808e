"""Approximate nearest neighbours from many small cells: an inverted file that knows how far it has to look.

Cells of some 10 rows, no more than an identity has, are told apart by their means. A row is compared with the rows
of the cells whose means are nearest. How many cells that takes is not guessed: the exact lists of a sample say how many
hold the wanted share of the true neighbours. Since candidates are put into order by exact distances afterwards, they
are compared in few dimensions: the principal ones, as many as that sample needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from unreid.neighbors.torch_search import Spans, exact_search, has_fast_bf16, smallest
from unreid.utils.means import segment_means
from unreid.utils.threads import in_threads

RECALL = 0.97  # share of the true neighbours of a sample that the visited cells hold
WIDER = 34  # candidates beyond k: near-ties in few dimensions and bfloat16
_PROJECTED = 0.995  # share of the true neighbours that a scan in few dimensions has to keep
_DIMS = 62  # with the square in two parts a row of the scan then has 64 numbers
_ROWS_A_CELL = 9  # on average, before large cells are split; fewer than an identity has, lest few of them matter
_PIECE = 12  # rows of a cell at most
_ITERATIONS = 2  # of k-means
_TRAINED = 4  # rows a cell that k-means looks at
_SAMPLE = 500  # rows whose exact lists say how many cells to visit
_AT_ONCE = 32  # of them that are compared with all rows at once
_LISTED = 32  # width of the lists that say how many dimensions are compared
_PRINCIPAL = 2**14  # rows that principal dimensions are taken from
_FEWEST = 16  # cells visited at least
_MANY = 2**14  # means that a row is compared with one by one
_UPPER = 32  # cells of means that a row visits where there are more
_BLOCK = 256  # rows whose cells are looked up at once
_BYTES = {"cpu": 2**22, "cuda": 2**28}  # rows of visited cells held at once: about one cache on a CPU


@dataclass(frozen=True)
class Cells:
    """Rows of a table in cells.

    A key holds a row's principal dimensions, d of them, and its squared norm in two parts, so that its product with
    what ``_queries`` makes of another key is the squared distance less the query's own square, which orders nothing.

    Attributes:
        table: (N, d + 2), the keys of all rows; bfloat16 where the device multiplies those in hardware.
        mean: (C, d + 2), the keys of the cells' means.
        member: int64 (C, w), rows of a cell, -1 after the last.
        keys: (C, w, d + 2), the members' keys; an infinite square after the last.
    """

    table: Tensor
    mean: Tensor
    member: Tensor
    keys: Tensor

    @classmethod
    def of(cls, features: Tensor, *, seed: int = 0) -> Cells:
        """Cells of float32 (N, D) features (which may be memory-mapped): k-means on a sample; the same for a seed."""
        return cls.of_keys(_few_dimensions(features, seed), seed)

    @classmethod
    def of_keys(cls, table: Tensor, seed: int) -> Cells:
        """As :meth:`of`, from the keys of the rows."""
        n = len(table)
        count = max(1, n // _ROWS_A_CELL)
        chosen = torch.from_numpy(np.random.default_rng(seed).permutation(n)).to(table.device)
        mean = _key(table[chosen[:count].sort().values, :-2].float(), table.dtype)
        sample = table[chosen[: _TRAINED * count].sort().values]
        for _ in range(_ITERATIONS):
            means, sizes = segment_means(sample[:, :-2].float(), _own_cell(sample, mean, seed), count)
            mean = torch.where(sizes[:, None] > 0, _key(means, table.dtype), mean)
        member = _pieces(_own_cell(table, mean, seed), count)
        means = segment_means(table[:, :-2], cell_of_rows(member, n), len(member), dtype=torch.float32)[0]
        cells = cls(table, _key(means, table.dtype), member, table[member.clamp(min=0)])
        cells.keys[member < 0] = _nowhere(table)
        return cells

    def within(self, spans: Spans) -> Cells:
        """The same cells, in which rows outside the spans are never found."""
        outside = torch.ones(len(self.table) + 1, dtype=torch.bool, device=self.member.device)
        for start, stop in spans:
            outside[start:stop] = False
        keys = self.keys.clone()
        keys[outside[self.member]] = _nowhere(self.table)
        return replace(self, keys=keys)

    def visits(self, features: Tensor, k: int, spans: Spans | None, seed: int) -> int:
        """How many cells hold ``RECALL`` of the k nearest rows (of the spans) of a sample of all rows."""
        sample = _sample(len(self.table), seed + 1).to(self.member.device)
        wanted = cell_of_rows(self.member, len(self.table))[exact_search(features, sample, k, spans=spans)[1]]
        scores = _queries(self.table[sample]) @ self.mean.T
        nearer = torch.cat([(row[cells][:, None] > row).sum(1) for row, cells in zip(scores, wanted, strict=True)])
        needed = int(nearer.sort().values[math.ceil(RECALL * len(nearer)) - 1]) + 1
        return min(max(needed, _FEWEST), len(self.mean))

    def search(self, rows: Tensor, width: int, count: int) -> Tensor:
        """Candidates for rows whose keys are given, (Q, d + 2), from their ``count`` nearest cells.

        Returns:
            int64 (Q, width), -1 where the cells hold fewer.
        """
        found = self.member.new_full((len(rows), width), -1)
        slots = count * self.member.shape[1]
        width = min(width, slots)
        keys = self.keys.flatten(1)
        size = keys.element_size() * keys.shape[1] * count
        at_once = max(1, _BYTES.get(rows.device.type, 2**22) // size)
        cells = _nearest(rows, self.mean, count)

        def visit(part: slice) -> None:
            for start in range(part.start, min(part.stop, len(rows)), at_once):
                inner = slice(start, min(start + at_once, part.stop))
                here = cells[inner]
                visited = torch.index_select(keys, 0, here.flatten()).view(len(here), slots, -1)
                scores = torch.bmm(visited, _queries(rows[inner])[:, :, None])[:, :, 0]
                best, column = smallest(scores.float(), width)
                member = self.member[here.gather(1, column // self.member.shape[1]), column % self.member.shape[1]]
                found[inner, :width] = member.masked_fill_(best == torch.inf, -1)

        in_threads(visit, _blocks(len(rows)), rows.device)
        return found


def cell_of_rows(member: Tensor, n: int) -> Tensor:
    """int64 (N,): the cell of every row."""
    cell = torch.empty(n, dtype=torch.int64, device=member.device)
    inside = member >= 0
    cell[member[inside]] = inside.nonzero()[:, 0]
    return cell


def _few_dimensions(features: Tensor, seed: int) -> Tensor:
    """The keys of all rows in as few principal dimensions as keep the nearest rows of a sample."""
    n, dim = features.shape
    dtype = torch.bfloat16 if has_fast_bf16(features.device) else torch.float32
    chosen = np.sort(np.random.default_rng(seed).permutation(n)[:_PRINCIPAL])
    some = features[torch.from_numpy(chosen).to(features.device)].double()
    center = some.mean(dim=0)
    basis = torch.linalg.eigh((some - center).T @ (some - center))[1].flip(1).float()
    sample = _sample(n, seed).to(features.device)
    nearest = exact_search(features, sample, min(_LISTED, n))[1]
    kept = _DIMS
    while True:
        part = basis[:, :kept] if kept < dim else torch.eye(dim, device=features.device)
        table = torch.cat([_key((rows - center.float()) @ part, dtype) for rows in features.split(2**16)])
        if kept >= dim:
            return table
        width = min(_LISTED + WIDER, n)
        best = torch.cat([smallest(_queries(table[rows]) @ table.T, width)[1] for rows in sample.split(_AT_ONCE)])
        held = (nearest[:, :, None] == best[:, None, :]).any(dim=2).float().mean()
        if held >= _PROJECTED:
            return table
        kept = 2 * kept + 2


def _sample(n: int, seed: int) -> Tensor:
    return torch.from_numpy(np.sort(np.random.default_rng(seed).permutation(n)[:_SAMPLE]))


def _key(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """(N, d + 2) keys of float32 (N, d) rows."""
    rounded = rows.to(dtype)
    square = rounded.float().square().sum(dim=1, keepdim=True)
    high = square.to(dtype)
    return torch.cat([rounded, high, (square - high.float()).to(dtype)], dim=1)


def _nowhere(table: Tensor) -> Tensor:
    """(d + 2,): the key of a row that is never found."""
    key = table.new_zeros(table.shape[1])
    key[-2] = torch.inf
    return key


def _queries(keys: Tensor) -> Tensor:
    """What keys are multiplied with, from the keys of the rows that search: (Q, d + 2)."""
    queries = -2 * keys
    queries[:, -2:] = 1
    return queries


def _nearest(keys: Tensor, mean: Tensor, count: int) -> Tensor:
    """int64 (Q, count): the means nearest to rows, in no particular order."""
    found = torch.empty(len(keys), count, dtype=torch.int64, device=keys.device)

    def look(part: slice) -> None:
        scores = _queries(keys[part]) @ mean.T
        found[part] = smallest(scores, count)[1]

    in_threads(look, _blocks(len(keys)), keys.device)
    return found


def _own_cell(keys: Tensor, mean: Tensor, seed: int) -> Tensor:
    """int64 (Q,): the nearest of the means, or of very many nearly so, since all products would grow as N^2."""
    if len(mean) <= _MANY:
        return _nearest(keys, mean, 1)[:, 0]
    return Cells.of_keys(mean, seed).search(keys, 1, _UPPER)[:, 0]


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK))


def _pieces(cell: Tensor, count: int) -> Tensor:
    """int64 (C, w): the rows of every cell, those of large ones in several pieces; -1 after the last."""
    order = cell.argsort(stable=True)
    size = torch.bincount(cell, minlength=count)
    pieces = (size + _PIECE - 1) // _PIECE
    first = pieces.cumsum(0) - pieces
    within = torch.arange(len(order), device=cell.device) - (size.cumsum(0) - size)[cell[order]]
    member = torch.full((int(pieces.sum()) * _PIECE,), -1, dtype=torch.int64, device=cell.device)
    member[first[cell[order]] * _PIECE + within] = order
    return member.view(-1, _PIECE)
