"""Means of rows by key, the same on every process and device."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK_ELEMENTS = 2**25  # features gathered at once: 128 MiB of float32


def segment_means(
    features: Tensor, keys: Tensor, num_segments: int, *, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """Mean of the rows of every key; rows with a negative key are left out.

    The rows are summed in list order by a segmented reduction, not by atomic additions, so that all processes of a
    run get the same bits.

    Args:
        features: float (N, D).
        keys: int64 (N,) in [-1, num_segments), on any device.
        num_segments: C.
        dtype: type of sums and means; None: that of ``features``.

    Returns:
        means (C, D), 0 where a key has no row, and counts int64 (C,), on the device of ``features``.
    """
    keys = keys.to(features.device)
    order = torch.argsort(keys, stable=True)
    order = order[int((keys < 0).sum()) :]
    counts = torch.bincount(keys[order], minlength=num_segments)
    sums = features.new_empty(num_segments, features.shape[1], dtype=dtype)
    width = max(1, CHUNK_ELEMENTS // max(1, len(order)))
    for column in range(0, features.shape[1], width):
        part = features[:, column : column + width][order].to(sums.dtype)
        sums[:, column : column + width] = torch.segment_reduce(part, "sum", lengths=counts, axis=0)
    return sums / counts.clamp(min=1).unsqueeze(1), counts
