"""Intervals of time: which of them overlap, and how far the others are apart."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def overlapping_pairs(
    row_start: np.ndarray, row_end: np.ndarray, col_start: np.ndarray, col_end: np.ndarray, min_overlap: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (i, j) with ``min(end_i, end_j) - max(start_i, start_j) >= min_overlap``, in time that grows with them.

    Args:
        row_start, row_end: int64 (R,), both frames belong to the interval.
        col_start, col_end: int64 (C,).
        min_overlap: in frames; 0: one common frame is enough.

    Returns:
        rows and columns, int64 (L,) each, every pair once, in no particular order.
    """
    later_cols = _starting_inside(row_start, row_end, col_start, col_end, min_overlap, "right")
    later_rows = _starting_inside(col_start, col_end, row_start, row_end, min_overlap, "left")
    return np.concatenate((later_cols[0], later_rows[1])), np.concatenate((later_cols[1], later_rows[0]))


def _starting_inside(
    start: np.ndarray, end: np.ndarray, other_start: np.ndarray, other_end: np.ndarray, overlap: int, side: str
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs whose second interval starts inside the first: later ("right") or also together with it ("left").

    Sorted by start, the partners of an interval are one contiguous range.
    """
    long_enough = np.flatnonzero(other_end - other_start >= overlap)
    order = long_enough[np.argsort(other_start[long_enough], kind="stable")]
    first = np.searchsorted(other_start[order], start, side=side)  # type: ignore[call-overload]
    last = np.searchsorted(other_start[order], end - overlap, side="right")
    count = np.maximum(last - first, 0)
    rows = np.repeat(np.arange(len(start)), count)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    return rows, order[np.repeat(first, count) + within]


def lag(start_i: Tensor, end_i: Tensor, start_j: Tensor, end_j: Tensor) -> Tensor:
    """Frames from the end of i to the start of j: negative if j comes first, 0 if they overlap; broadcasts."""
    after = start_j - end_i
    before = start_i - end_j
    zero = torch.zeros((), dtype=after.dtype, device=after.device)
    return torch.where(after > 0, after, torch.where(before > 0, -before, zero))
