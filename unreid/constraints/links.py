"""Sparse sets of pairs (row, column): which tracklets cannot be the same person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unreid.utils.arrays import ArrayLike, as_rows
from unreid.utils.errors import InputError


@dataclass(frozen=True)
class Links:
    """For every row the columns it is linked with, in CSR form.

    Attributes:
        start: int64 (R + 1,).
        index: int64 (L,), ascending within a row.
        width: number of columns.
    """

    start: np.ndarray
    index: np.ndarray
    width: int

    @classmethod
    def from_pairs(cls, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> Links:
        """From positions int (L,) below ``shape``; repeated pairs count once."""
        height, width = shape
        code = np.unique(np.asarray(rows, dtype=np.int64) * width + np.asarray(columns, dtype=np.int64))
        start = np.searchsorted(code, np.arange(height + 1, dtype=np.int64) * width)
        return cls(start, code % max(width, 1), width)

    @classmethod
    def symmetric(cls, pairs: ArrayLike, count: int) -> Links:
        """Links among ``count`` samples from pairs of positions, integers (L, 2), each meant in both directions.

        Raises:
            InputError: pairs of another shape, or positions that are not below ``count``.
        """
        wanted = as_rows(pairs, "pairs", 2).numpy().astype(np.int64) if len(pairs) else np.empty((0, 2), np.int64)
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < count:
            raise InputError(f"pairs must hold positions from 0 to {count - 1}, integers of shape (L, 2).")
        rows, columns = np.concatenate((wanted, wanted[:, ::-1])).T
        return cls.from_pairs(rows, columns, (count, count))

    @property
    def height(self) -> int:
        return len(self.start) - 1

    def __len__(self) -> int:
        return len(self.index)

    def rows(self) -> np.ndarray:
        """int64 (L,): the row of every entry of ``index``."""
        return np.repeat(np.arange(self.height), np.diff(self.start))

    def take(self, rows: np.ndarray, columns: np.ndarray) -> Links:
        """The links among some rows and columns, renumbered; positions int64, each at most once."""
        new_row, new_column = _inverse(rows, self.height), _inverse(columns, self.width)
        i, j = new_row[self.rows()], new_column[self.index]
        kept = (i >= 0) & (j >= 0)
        return Links.from_pairs(i[kept], j[kept], (len(rows), len(columns)))

    def is_whole(self) -> bool:
        """``start`` and ``index`` describe lists of positions below ``width``."""
        start, index = self.start, self.index
        ascending = len(start) and start[0] == 0 and start[-1] == len(index) and (np.diff(start) >= 0).all()
        return bool(ascending) and (not len(index) or 0 <= int(index.min()) <= int(index.max()) < self.width)

    def is_symmetric(self) -> bool:
        """Every link of a square set stands in both rows."""
        other = Links.from_pairs(self.index, self.rows(), (self.width, self.height))
        return np.array_equal(self.start, other.start) and np.array_equal(self.index, other.index)


def partners(one: np.ndarray, other: np.ndarray) -> dict[int, set[int]]:
    """Every position in pairs int (L,) with those it is paired with, in either direction."""
    found: dict[int, set[int]] = {}
    for a, b in zip(one.tolist(), other.tolist()):
        found.setdefault(a, set()).add(b)
        found.setdefault(b, set()).add(a)
    return found


def _inverse(positions: np.ndarray, count: int) -> np.ndarray:
    """Old position -> new one, -1 for those left out."""
    inverse = np.full(count, -1, dtype=np.int64)
    inverse[positions] = np.arange(len(positions))
    return inverse
