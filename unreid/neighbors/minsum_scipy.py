"""Steps 4-6 of the Jaccard distance with scipy's sparse products: the default on a CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unreid.neighbors.share import ALONE, Share
from unreid.neighbors.support import SparseRows
from unreid.utils.progress import tracked

_TRIPLES = 2**19  # (i, column, j) triples expanded at once, by all threads


def mean_rows(rows: SparseRows, index: Tensor) -> SparseRows:
    """Means of the rows ``index[i]``: summed in that order, divided once.

    Args:
        rows: N sparse rows.
        index: int64 (M, k2), of all rows or of a share of them.

    Returns:
        M sparse rows.
    """
    import scipy.sparse as sp

    n, (wanted, k2) = len(rows), index.shape
    matrix = sp.csr_matrix((rows.value.numpy(), rows.column.numpy(), rows.start.numpy()), shape=(n, n))
    picked = index.numpy().astype(np.int32).reshape(-1)
    chosen = (np.ones(len(picked), np.float32), picked, np.arange(0, wanted * k2 + 1, k2))
    chooser = sp.csr_matrix(chosen, shape=(wanted, n))
    mean = chooser @ matrix
    mean.sort_indices()
    mean.data /= np.float32(k2)
    return SparseRows(
        torch.from_numpy(mean.indptr.astype(np.int64)),
        torch.from_numpy(mean.indices.astype(np.int32, copy=False)),
        torch.from_numpy(mean.data),
    )


def pair_distances(rows: SparseRows, limit: float, share: Share = ALONE) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs i < j whose rows share a column and lie within ``limit``, sorted by (i, j); those of a share of the i.

    Returns:
        int64 (E,), int64 (E,), float32 (E,): i, j and ``1 - m / (2 - m)`` with m the sum of minima.
    """
    partners = column_partners(rows)
    threads = torch.get_num_threads()
    # A sparse product clears N counters, so that smaller blocks would make the time quadratic.
    span = share.even_span(partners.before_row)
    blocks = list(row_blocks(partners.before_row, max(_TRIPLES // threads, len(rows)), span=span))
    work = partial(_block_pairs, rows, partners, limit=limit)
    with ThreadPoolExecutor(threads) as pool:  # numpy and scipy let go of the interpreter
        found = list(tracked(pool.map(work, blocks), "Jaccard distances", len(blocks), "blocks"))
    return joined_pairs([tuple(map(torch.from_numpy, part)) for part in found])


def _block_pairs(
    rows: SparseRows, partners: Partners, block: tuple[int, int], limit: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of the rows ``block`` = [first, last)."""
    import scipy.sparse as sp

    n, (first, last) = len(rows), block
    start, value = rows.start.numpy(), rows.value.numpy()
    ours = slice(start[first], start[last])
    count = partners.many[ours]
    ends = np.cumsum(count, dtype=np.int64)
    at = np.repeat(partners.after[ours] - (ends - count), count)
    at += np.arange(len(at))
    minimum = np.repeat(value[ours], count)
    np.minimum(minimum, partners.weight.take(at, mode="clip"), out=minimum)  # "clip" only saves a check
    owner = partners.owner.take(at, mode="clip")
    starts = np.concatenate([[0], ends]).astype(np.int32 if len(at) < 2**31 else np.int64)
    shared = sp.csr_matrix((minimum, owner, starts), shape=(len(count), n))
    chooser = (np.ones(len(count), np.float32), np.arange(len(count)), start[first : last + 1] - start[first])
    sums = sp.csr_matrix(chooser, shape=(last - first, len(count))) @ shared  # adds the entries of each row
    return _within(sums, first, limit)


class Partners(NamedTuple):
    """The entries by column, rows ascending, and for every entry (i, column) the rows j > i that share the column."""

    owner: np.ndarray  # int32 (nnz,), row of an entry, entries ordered by (column, row)
    weight: np.ndarray  # float32 (nnz,), its value, in the same order
    after: np.ndarray  # int (nnz,), per entry in row order: place of its first partner in that order
    many: np.ndarray  # int (nnz,), its number of partners
    before_row: np.ndarray  # int64 (N + 1,), partners of all entries of the rows before


def column_partners(rows: SparseRows) -> Partners:
    """Transposes ``rows`` and keeps for every entry its position in its column."""
    import scipy.sparse as sp

    n = len(rows)
    start, column = rows.start.numpy(), rows.column.numpy()
    entry = np.arange(len(column), dtype=np.int32 if len(column) < 2**31 else np.int64)
    by_column = sp.csr_matrix((entry, column, start), shape=(n, n)).tocsc()
    order = by_column.data
    after = np.empty_like(order)
    after[order] = entry + 1
    count = by_column.indptr[1:][column] - after
    before = np.concatenate([[0], np.cumsum(count, dtype=np.int64)])
    return Partners(by_column.indices, rows.value.numpy()[order], after, count, before[start])


def row_blocks(
    before: np.ndarray, budget: int, most: int | None = None, span: tuple[int, int] | None = None
) -> Iterator[tuple[int, int]]:
    """Consecutive row ranges of at most ``budget`` items and ``most`` rows each, but never less than one row.

    ``before`` int64 (N + 1,) counts the items of the rows before each; ``span`` = [first, last) are the rows wanted.
    """
    first, n = span or (0, len(before) - 1)
    while first < n:
        last = int(np.searchsorted(before, before[first] + budget, side="right")) - 1
        last = max(min(last, first + (most or n), n), first + 1)
        yield first, last
        first = last


def joined_pairs(parts: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, Tensor, Tensor]:
    """Parts of a list of pairs as one; without any part, no pairs."""
    empty = torch.empty(0, dtype=torch.int64)
    i, j, distance = (torch.cat(part) for part in zip(*(parts or [(empty, empty, torch.empty(0))]), strict=True))
    return i, j, distance


def _within(sums: Any, first: int, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    m = sums.data
    distance = np.maximum(np.float32(0), np.float32(1) - m / (np.float32(2) - m))
    keep = np.flatnonzero(distance <= np.float32(limit))
    i = np.searchsorted(sums.indptr, keep, side="right") - 1 + first
    j = sums.indices[keep].astype(np.int64)
    order = np.lexsort((j, i))
    keep = keep[order]
    return i[order].astype(np.int64), j[order], distance[keep]
