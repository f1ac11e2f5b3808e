"""Candidates of every row at once: each tile of products serves its rows and its columns.

The product of N rows with themselves is symmetric, so half of it is enough. A running threshold per row, the worst of
its best candidates so far, lets through the few entries of a tile that can still matter, and only those are sorted.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unreid.utils.progress import tracked


def symmetric_candidates(
    squared: Callable[[slice, slice], Tensor], n: int, width: int, tile: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The ``width`` nearest candidates of each of N rows, the row itself always among them.

    Args:
        squared: (rows, columns) -> float32 squared distances of the tile, possibly off by rounding.
        n: N.
        width: at most N.
        tile: rows of a tile.

    Returns:
        int64 (N, width) candidates in no particular order, and float32 (N,): the distance that no row left out falls
        below (inf never: every row has N >= width candidates).
    """
    best = torch.full((n, width), torch.inf, device=device)
    index = torch.full((n, width), -1, dtype=torch.int64, device=device)
    parts = [slice(start, min(start + tile, n)) for start in range(0, n, tile)]
    for part in parts:
        distance = squared(part, part)
        distance.fill_diagonal_(-torch.inf)
        count = min(width, part.stop - part.start)
        best[part, :count], index[part, :count] = distance.topk(count, dim=1, largest=False)
        index[part, :count] += part.start
    pairs = ((rows, columns) for number, rows in enumerate(parts) for columns in parts[number + 1 :])
    for rows, columns in tracked(pairs, "neighbours", len(parts) * (len(parts) - 1) // 2, "tiles"):
        distance = squared(rows, columns)
        open_ = (distance < best[rows].amax(1)[:, None]) | (distance < best[columns].amax(1))
        i, j = open_.nonzero(as_tuple=True)
        value = distance[i, j]
        _merge(best[rows], index[rows], i, j + columns.start, value)
        by_column = j.argsort(stable=True)
        _merge(best[columns], index[columns], j[by_column], i[by_column] + rows.start, value[by_column])
    return index, best.amax(1)


def _merge(best: Tensor, index: Tensor, row: Tensor, other: Tensor, value: Tensor) -> None:
    """Offers entries (row, other, value), sorted by row, to the running candidates of the rows, in place."""
    keep = (value < best.amax(1)[row]).nonzero()[:, 0]
    if len(keep) == 0:
        return
    row, other, value = row[keep], other[keep], value[keep]
    count = torch.bincount(row, minlength=len(best))
    place = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
    shape = len(best), int(count.max())
    values = best.new_full(shape, torch.inf)
    others = index.new_full(shape, -1)
    values[row, place] = value
    others[row, place] = other
    values, chosen = torch.cat([best, values], dim=1).topk(best.shape[1], dim=1, largest=False, sorted=False)
    index.copy_(torch.cat([index, others], dim=1).gather(1, chosen))
    best.copy_(values)
