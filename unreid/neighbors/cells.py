"""Approximate nearest neighbours from many small cells: an inverted file whose scans are matrix products.

Cells of some 20 rows, hardly more than an identity has, are told apart by their means. A row is compared with the rows
of the cells whose means are nearest: the queries that visit a cell are put together, so that the comparison is one
product for all of them. How many cells a row visits is not guessed: the exact lists of a sample say how many it takes
to find the wanted share of the true neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unreid.neighbors.torch_search import Spans, exact_search, has_fast_bf16, smallest
from unreid.utils.means import segment_means

RECALL = 0.97  # share of the true neighbours of a sample that the visited cells hold
_ROWS_A_CELL = 12  # on average, before large cells are split
_CELLS = 32  # times sqrt(N): cells at most, so that finding the nearest grows as N^1.5
_ITERATIONS = 2  # of k-means
_TRAINED = 8  # rows a cell that k-means looks at
_SAMPLE = 500  # rows whose exact lists say how many cells to visit
_FEWEST = 16  # cells visited at least
_SCORES = {"cpu": 2**24, "cuda": 2**28}  # scores of rows and means held at once
_SLOTS = {"cpu": 2**28, "cuda": 2**31}  # scores of rows and visited rows held at once


@dataclass(frozen=True)
class Cells:
    """Rows of a table in cells.

    Attributes:
        table: (N, D), the rows in the precision of the scan.
        mean: (C, D) of the cells, ``mean_square`` (C,) their squared norms, in that precision, too.
        member: int64 (C, w), rows of a cell, -1 after the last.
        rows: (C, w, D), the members' rows; zeros after the last.
        square: (C, w), the members' squared norms; inf after the last.
    """

    table: Tensor
    mean: Tensor
    mean_square: Tensor
    member: Tensor
    rows: Tensor
    square: Tensor

    @classmethod
    def of(cls, features: Tensor, *, seed: int = 0) -> Cells:
        """Cells of float32 (N, D) features (which may be memory-mapped): k-means on a sample; the same for a seed."""
        table = features.to(torch.bfloat16) if has_fast_bf16(features.device) else features
        n = len(features)
        count = max(1, min(n // _ROWS_A_CELL, round(_CELLS * math.sqrt(n))))
        chosen = torch.from_numpy(np.random.default_rng(seed).permutation(n)).to(features.device)
        mean = features[chosen[:count].sort().values]
        sample = chosen[: _TRAINED * count].sort().values
        for _ in range(_ITERATIONS):
            means, sizes = segment_means(features[sample], _nearest_mean(table, sample, mean), count)
            mean = torch.where(sizes[:, None] > 0, means, mean)
        every = torch.arange(n, device=features.device)
        member = _pieces(_nearest_mean(table, every, mean), count)
        mean = segment_means(features, cell_of_rows(member, n), len(member))[0]
        rows, square = table.new_zeros(*member.shape, table.shape[1]), table.new_full(member.shape, torch.inf)
        for start in range(0, len(member), 4096):
            part = slice(start, start + 4096)
            inside = member[part] >= 0
            rows[part][inside] = table[member[part][inside]]
            square[part][inside] = _squares(rows[part][inside])
        return cls(table, mean.to(table.dtype), _squares(mean).to(table.dtype), member, rows, square)

    def within(self, spans: Spans) -> Cells:
        """The same cells, in which rows outside the spans are never found."""
        allowed = torch.zeros(len(self.table) + 1, dtype=torch.bool, device=self.member.device)
        for start, stop in spans:
            allowed[start:stop] = True
        square = self.square.masked_fill(~allowed[self.member], torch.inf)
        return Cells(self.table, self.mean, self.mean_square, self.member, self.rows, square)

    def nearest(self, rows: Tensor, count: int) -> Tensor:
        """int64 (Q, count): the cells whose means are nearest to the rows, in no particular order."""
        found = torch.empty(len(rows), count, dtype=torch.int64, device=rows.device)
        block = max(1, _SCORES.get(rows.device.type, 2**24) // len(self.mean))
        for start in range(0, len(rows), block):
            scores = _scores(self.table[rows[start : start + block]], self.mean, self.mean_square)
            found[start : start + block] = _smallest_roughly(scores, count)
        return found

    def visits(self, features: Tensor, k: int, spans: Spans | None, seed: int) -> int:
        """How many cells hold ``RECALL`` of the k nearest rows (of the spans) of a sample of all rows."""
        chosen = np.sort(np.random.default_rng(seed + 1).permutation(len(self.table))[:_SAMPLE])
        sample = torch.from_numpy(chosen).to(self.member.device)
        wanted = cell_of_rows(self.member, len(self.table))[exact_search(features, sample, k, spans=spans)[1]]
        scores = _scores(self.table[sample], self.mean, self.mean_square)
        nearer = torch.cat([(row[cells][:, None] > row).sum(1) for row, cells in zip(scores, wanted, strict=True)])
        needed = int(nearer.sort().values[math.ceil(RECALL * len(nearer)) - 1]) + 1
        return min(max(needed, _FEWEST), len(self.mean))

    def block(self, count: int) -> int:
        """Rows that are searched at once when each visits ``count`` cells."""
        return max(1, _SLOTS.get(self.table.device.type, 2**28) // (count * self.member.shape[1]))

    def search(self, rows: Tensor, width: int, count: int) -> Tensor:
        """Candidates of rows from the ``count`` nearest cells: int64 (Q, width), -1 where those hold fewer."""
        found = self._visit(rows, self.nearest(rows, count), min(width, count * self.member.shape[1]))
        return torch.nn.functional.pad(found, (0, width - found.shape[1]), value=-1)

    def _visit(self, rows: Tensor, cells: Tensor, width: int) -> Tensor:
        """The ``width`` best of the members of ``cells`` (Q, count) for every row."""
        count, members = cells.shape[1], self.member.shape[1]
        order, visitors = _by_cell(cells, len(self.member))
        visitor = torch.div(order, count, rounding_mode="floor")
        queries = self.table[rows]
        slots = queries.new_empty(len(order), members)
        stop = 0
        for cell, number in enumerate(visitors.tolist()):
            if number == 0:
                continue
            start, stop = stop, stop + number
            ours = torch.index_select(queries, 0, visitor[start:stop])
            slots.index_copy_(0, order[start:stop], _scores(ours, self.rows[cell], self.square[cell]))
        slots = slots.view(len(rows), count * members)
        found = torch.empty(len(rows), width, dtype=torch.int64, device=rows.device)
        for start in range(0, len(rows), 1024):
            part = slice(start, start + 1024)
            best, column = smallest(slots[part], width)
            cell_of = cells[part].gather(1, torch.div(column, members, rounding_mode="floor"))
            found[part] = self.member[cell_of, column % members].masked_fill_(best == torch.inf, -1)
        return found


def cell_of_rows(member: Tensor, n: int) -> Tensor:
    """int64 (N,): the cell of every row."""
    cell = torch.empty(n, dtype=torch.int64, device=member.device)
    inside = member >= 0
    cell[member[inside]] = inside.nonzero()[:, 0]
    return cell


def _by_cell(cells: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The entries of ``cells`` (Q, p) put into the order of their values, and how often each value occurs."""
    if cells.is_cuda:
        return cells.flatten().sort(stable=True).indices, torch.bincount(cells.flatten(), minlength=count)
    import scipy.sparse as sp

    entry = np.arange(cells.numel(), dtype=np.int32)
    start = np.arange(0, cells.numel() + 1, cells.shape[1], dtype=np.int32)
    by_cell = sp.csr_matrix((entry, cells.flatten().numpy(), start), shape=(len(cells), count)).tocsc()
    return torch.from_numpy(by_cell.data).long(), torch.from_numpy(by_cell.indptr).diff()


def _smallest_roughly(scores: Tensor, count: int) -> Tensor:
    """Columns (Q, count) of the smallest scores: the smallest of every group, of which there are four times as many.

    The r-th smallest is lost where a smaller one shares its group, with probability r / (4 count) at most.
    """
    groups, columns = 4 * count, scores.shape[1]
    if columns < 2 * groups:
        return scores.topk(count, dim=1, largest=False, sorted=False).indices
    size = columns // groups
    best, place = scores[:, : size * groups].view(len(scores), size, groups).min(dim=1)
    column = place * groups + torch.arange(groups, device=scores.device)
    tail = torch.arange(size * groups, columns, device=scores.device).expand(len(scores), -1)
    best = torch.cat([best, scores[:, size * groups :]], dim=1)
    chosen = best.topk(count, dim=1, largest=False, sorted=False).indices
    return torch.cat([column, tail], dim=1).gather(1, chosen)


def _scores(queries: Tensor, keys: Tensor, square: Tensor) -> Tensor:
    """``|y|^2 - 2 <x, y>``, (Q, M), in the precision of the queries."""
    return torch.addmm(square, queries, keys.T, alpha=-2)


def _squares(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=1, dtype=torch.float32).square_().to(rows.dtype)


def _nearest_mean(table: Tensor, rows: Tensor, mean: Tensor) -> Tensor:
    """int64 (Q,): the nearest mean of every row."""
    mean = mean.to(table.dtype)
    square = _squares(mean)
    block = max(1, _SCORES.get(table.device.type, 2**24) // len(mean))
    return torch.cat([_scores(table[part], mean, square).min(dim=1).indices for part in rows.split(block)])


def _pieces(cell: Tensor, count: int) -> Tensor:
    """int64 (C, w): the rows of every cell, those of large ones in several pieces; -1 after the last."""
    width = 16 * max(1, round(len(cell) / count / 12))
    order = cell.argsort(stable=True)
    size = torch.bincount(cell, minlength=count)
    pieces = (size + width - 1) // width
    first = pieces.cumsum(0) - pieces
    within = torch.arange(len(order), device=cell.device) - (size.cumsum(0) - size)[cell[order]]
    member = torch.full((int(pieces.sum()) * width,), -1, dtype=torch.int64, device=cell.device)
    member[first[cell[order]] * width + within] = order
    return member.view(-1, width)
