"""Steps 4-6 of the Jaccard distance with torch operations only: the default on CUDA, and equal to the others on CPU.

Minima are summed as integers (weights rounded to 2**-30), so that a sum does not depend on the order of its terms and
repeats bit for bit on every device. The rounding moves a distance by less than 1e-7. Sums go into a table of some rows
times all N columns: N^2 cells in all at the speed of memory, against the N^2 D products of an exact search. Beyond some
100,000 samples on a CPU the scipy back-end, which touches only what meets, is faster.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unreid.neighbors.minsum_scipy import joined_pairs, row_blocks
from unreid.neighbors.share import ALONE, Share
from unreid.neighbors.support import SparseRows

_TRIPLES = {"cpu": 2**18, "cuda": 2**26}  # (i, column, j) triples expanded at once
_CELLS = {"cpu": 2**20, "cuda": 2**28}  # cells of the table of sums
_ONE = 2**30  # fixed-point unit


def mean_rows(rows: SparseRows, index: Tensor) -> SparseRows:
    """Means of the rows ``index[i]``; as :func:`unreid.neighbors.minsum_scipy.mean_rows`."""
    n, (wanted, k2) = len(rows), index.shape
    device = index.device
    length = rows.start.diff()
    total = torch.zeros(wanted + 1, dtype=torch.int64, device=device)
    torch.cumsum(length[index].sum(1), 0, out=total[1:])
    starts, columns, values = [rows.start[:1]], [], []
    for first, last in row_blocks(total.cpu().numpy(), _TRIPLES.get(device.type, 2**22)):
        source = index[first:last].reshape(-1)
        entry, owner = _ranges(rows.start[source], length[source])
        key = torch.div(owner, k2, rounding_mode="floor") * n + rows.column[entry]
        key, order = (key.int() if (last - first) * n < 2**31 else key).sort(stable=True)
        key, count = torch.unique_consecutive(key, return_counts=True)
        sums = torch.segment_reduce(rows.value[entry[order]], "sum", lengths=count, unsafe=True)
        row = torch.div(key, n, rounding_mode="floor").long()
        columns.append((key - row * n).int())
        values.append(sums / k2)
        starts.append(torch.bincount(row, minlength=last - first))
    return SparseRows(torch.cat(starts).cumsum(0), torch.cat(columns), torch.cat(values))


def pair_distances(rows: SparseRows, limit: float, share: Share = ALONE) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs i < j within ``limit``; as :func:`unreid.neighbors.minsum_scipy.pair_distances`."""
    n = len(rows)
    device = rows.value.device
    weight = (rows.value.double() * _ONE).round_().int()
    owner = torch.repeat_interleave(torch.arange(n, dtype=torch.int32, device=device), rows.start.diff())
    order = torch.argsort(rows.column, stable=True)  # entries by (column, row)
    after = torch.empty_like(order)
    after[order] = torch.arange(1, len(order) + 1, device=device)
    end = torch.bincount(rows.column, minlength=n).cumsum(0)
    partners = (end[rows.column] - after).int()  # the rest of the column: rows j > i that share it
    row_of, weight_of = owner[order], weight[order]
    del order, end
    before = torch.zeros(len(partners) + 1, dtype=torch.int64, device=device)
    torch.cumsum(partners, 0, out=before[1:])
    cells = _CELLS.get(device.type, 2**22)
    table = torch.zeros(max(cells, n), dtype=torch.int32, device=device)
    least = max(1, math.floor(2 * (1 - limit) / (2 - limit) * _ONE) - 64)  # no pair with a smaller sum is within limit
    start = rows.start.tolist()
    found = []
    budget = _TRIPLES.get(device.type, 2**20)
    before_row = before[rows.start].cpu().numpy()
    for first, last in row_blocks(before_row, budget, max(1, cells // n), share.even_span(before_row)):
        ours = slice(start[first], start[last])
        at, entry = _ranges(after[ours], partners[ours])
        cell = ((owner[ours].long() - first) * n)[entry] + row_of[at]
        sums = table[: (last - first) * n]
        sums.index_add_(0, cell, torch.minimum(weight[ours][entry], weight_of[at]))
        cell = (sums >= least).nonzero()[:, 0]
        m = (sums[cell].double() / _ONE).float()
        sums.zero_()
        distance = (1 - m / (2 - m)).clamp_(min=0)
        keep = distance <= limit
        cell = cell[keep]
        i = torch.div(cell, n, rounding_mode="floor")
        found.append((i + first, cell - i * n, distance[keep]))
    i, j, distance = joined_pairs(found)
    return i.to(device), j.to(device), distance.to(device)


def _ranges(begin: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers begin[a], begin[a] + 1, ... (count[a] of them) for every a, joined; and the a of each."""
    owner = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    shift = begin - (count.cumsum(0) - count)
    return shift[owner] + torch.arange(len(owner), device=count.device), owner
