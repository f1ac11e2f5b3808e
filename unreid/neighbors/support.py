"""k-reciprocal supports and their weights: steps 1-3 of the Jaccard distance, as sparse rows.

Notation: R(i) is the neighbour list of i, w its width; N_m(i) the entries j among the first m of R(i) with i among the
first m of R(j) (k-reciprocal, Zhong et al., CVPR 2017); h = round(k1 / 2) + 1. The support of i is N_w(i) joined with
every N_h(q), q in N_w(i), that lies by more than two thirds in N_w(i). All counts are integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unreid.neighbors.rescoring import squared_distances, squared_norms

_COMPARED = {"cpu": 2**18, "cuda": 2**25}  # comparisons of the reciprocity test held at once
_MARKED = {"cpu": 2**26, "cuda": 2**30}  # cells (bytes) of the membership table
_ROWS = {"cpu": 1024, "cuda": 2**15}  # rows whose supports are made at once
_FEWEST_ROWS = 256  # however large N is: with fewer, the calls cost more than the work


@dataclass
class SparseRows:
    """N sparse rows (CSR), columns ascending within a row.

    Attributes:
        start: int64 (N + 1,), where a row's entries begin.
        column: int32 (nnz,).
        value: float32 (nnz,).
    """

    start: Tensor
    column: Tensor
    value: Tensor

    def __len__(self) -> int:
        return len(self.start) - 1


def reciprocal(index: Tensor, width: int) -> Tensor:
    """bool (N, width): whether the j in that place of i's list has i among its first ``width`` entries.

    Args:
        index: int32 (N, w), w >= width, neighbour lists.
        width: number of leading columns that count.
    """
    lists = index[:, :width]
    out = torch.empty(lists.shape, dtype=torch.bool, device=index.device)
    block = max(1, _COMPARED.get(index.device.type, 2**20) // (width * width))
    for start in range(0, len(lists), block):
        part = lists[start : start + block]
        mine = torch.arange(start, start + len(part), dtype=index.dtype, device=index.device)
        torch.any(lists[part] == mine[:, None, None], dim=2, out=out[start : start + block])
    return out


def support_weights(
    features: Tensor, distance: Tensor, index: Tensor, half_width: int, span: tuple[int, int] | None = None
) -> SparseRows:
    """V: softmax of ``2 <x_i, x_l> - 2`` over the support of every row i; an empty support is an empty row.

    ``2 <x_i, x_l> = |x_i|^2 + |x_l|^2 - d^2``, and what depends on i alone cancels in the softmax, so the weights come
    from squared distances, most of which the neighbour lists already hold.

    Args:
        features: float32 (N, D).
        distance: float32 (N, w), squared distances of the lists.
        index: int64 (N, w), the lists; distinct entries within a row.
        half_width: h, at most w.
        span: [first, last), the rows that are wanted; None: all.
    """
    n, width = index.shape
    begin, end = span or (0, n)
    device = index.device
    square = squared_norms(features)
    short = index.int()
    member = reciprocal(short, width)
    half = short[:, :half_width].masked_fill(~reciprocal(short, half_width), n)
    lists = _Lists(index, distance, member, half, (half < n).sum(1, dtype=torch.int32))
    marks = max(_MARKED.get(device.type, 2**26) // (n + 1), _FEWEST_ROWS)
    marks = max(1, min(marks, _ROWS.get(device.type, 1024), n, (2**31 - 1) // (n + 1)))  # cells are int32
    table = torch.zeros(marks * (n + 1), dtype=torch.uint8, device=device)
    counts, columns, values = [], [], []
    for first in range(begin, end, marks):
        last = min(first + marks, end)
        row, column, known = _supports(features, lists, first, last, table)
        count = torch.bincount(row, minlength=last - first)
        counts.append(count)
        columns.append(column.int())
        values.append(segment_softmax(square[column] - known, count, row))
    return joined_rows(counts, columns, values)


def joined_rows(counts: list[Tensor], columns: list[Tensor], values: list[Tensor]) -> SparseRows:
    """Consecutive parts of rows as one: entries of every row, and the entries."""
    if not counts:
        return SparseRows(torch.zeros(1, dtype=torch.int64), torch.empty(0, dtype=torch.int32), torch.empty(0))
    count = torch.cat(counts)
    start = torch.zeros(len(count) + 1, dtype=torch.int64, device=count.device)
    torch.cumsum(count, 0, out=start[1:])
    return SparseRows(start, torch.cat(columns), torch.cat(values))


@dataclass
class _Lists:
    """Neighbour lists and what is reciprocal in them."""

    index: Tensor  # int64 (N, w)
    distance: Tensor  # float32 (N, w), squared
    member: Tensor  # bool (N, w), membership in N_w
    half: Tensor  # int32 (N, h), N_h with N in the gaps
    half_size: Tensor  # int32 (N,), |N_h|


def _supports(features: Tensor, lists: _Lists, first: int, last: int, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Supports of the rows first..last-1: local row, column (int64, sorted by both), squared distance (float32).

    ``table`` is a zeroed byte table of (last - first) x (N + 1) cells and left as it was found; its last column, which
    nothing marks, answers for the gaps in N_h.
    """
    n = len(lists.index)
    ids, distance = lists.index[first:last], lists.distance[first:last]
    row, place = lists.member[first:last].nonzero(as_tuple=True)
    column = ids[row, place]
    offset = row * (n + 1)
    table[offset + column] = 1
    proposed = torch.index_select(lists.half, 0, column)  # N_h(q) for every q in N_w(i)
    cells = proposed + offset.int()[:, None]
    inside = torch.index_select(table, 0, cells.view(-1)).view_as(cells)
    accepted = 3 * inside.sum(1, dtype=torch.int32) > 2 * lists.half_size[column]
    table[offset + column] = 0

    added = (accepted[:, None] & (inside == 0) & (proposed < n)).nonzero()
    new_row = row[added[:, 0]]
    new = torch.unique(new_row * n + proposed[added[:, 0], added[:, 1]])
    new_row = torch.div(new, n, rounding_mode="floor")
    new_column = new - new_row * n
    listed = ids[new_row] == new_column[:, None]
    new_distance = distance[new_row, listed.int().argmax(1)]
    unknown = (~listed.any(1)).nonzero()[:, 0]
    new_distance[unknown] = squared_distances(features, new_row[unknown] + first, new_column[unknown])

    key, order = torch.cat([row * n + column, new]).sort()
    row = torch.cat([row, new_row])[order]
    return row, key - row * n, torch.cat([distance[lists.member[first:last]], new_distance])[order]


def segment_softmax(logits: Tensor, count: Tensor, row: Tensor) -> Tensor:
    """float32 softmax of float64 ``logits`` within consecutive segments of ``count`` entries, ``row`` their number."""
    top = torch.segment_reduce(logits, "max", lengths=count, unsafe=True)
    weight = (logits - top[row]).exp_()
    total = torch.segment_reduce(weight, "sum", lengths=count, unsafe=True)
    return (weight / total[row]).float()
