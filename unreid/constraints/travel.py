"""How plausible a walk from camera to camera is after so much time: the table behind STS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TravelTable:
    """Plausibility p in [0, 1] of an ordered camera pair and a lag in frames.

    Attributes:
        table: float32 (A, A, 2 M + 1): ``table[a, b, M + k]`` belongs to lags around ``k * bin``; mirrored,
            ``table[b, a, M - k] == table[a, b, M + k]``.
        bin: frames per bin.
        unknown: p of lags beyond the table (and, written into it, of camera pairs with too few examples).
    """

    table: np.ndarray
    bin: int
    unknown: float

    @property
    def origin(self) -> int:
        """M: position of lag 0."""
        return self.table.shape[2] // 2

    @property
    def cameras(self) -> int:
        return self.table.shape[0]


def bin_numbers(lags: np.ndarray, bin: int) -> np.ndarray:
    """int64 number of the bin nearest to each lag; symmetric about 0."""
    return np.rint(np.asarray(lags) / bin).astype(np.int64)


def learn_travel(
    first_camids: np.ndarray,
    second_camids: np.ndarray,
    lags: np.ndarray,
    cameras: int,
    *,
    bin: int = 100,
    max_lag: int = 20_000,
    sigma: float = 3.0,
    min_count: int = 20,
    unknown: float | None = None,
) -> tuple[TravelTable, np.ndarray]:
    """A table from examples of two passes that should be the same person.

    Lags are counted in bins (and mirrored), smoothed with a Gaussian, and divided by the maximum of their camera pair.

    Args:
        first_camids, second_camids, lags: int64 (P,), every unordered pair of passes once.
        cameras: A.
        bin, max_lag: in frames; examples beyond ``max_lag`` do not count.
        sigma: standard deviation of the Gaussian, in bins.
        min_count: examples below which a camera pair is unknown.
        unknown: p of the unknown; None: the median of p over the bins that hold an example.

    Returns:
        The table and int64 (A, A) examples of every (unordered) camera pair.

    Raises:
        ValueError: no camera pair has enough examples.
    """
    from scipy.ndimage import gaussian_filter1d

    half = max_lag // bin
    number = bin_numbers(lags, bin)
    inside = np.abs(number) <= half
    a, b, k = first_camids[inside], second_camids[inside], number[inside]
    counts = np.zeros((cameras, cameras, 2 * half + 1))
    np.add.at(counts, (a, b, half + k), 1)
    np.add.at(counts, (b, a, half - k), 1)
    examples = counts.sum(axis=2).astype(np.int64)
    examples[np.diag_indices(cameras)] //= 2  # mirrored into itself
    smooth = gaussian_filter1d(counts, sigma, axis=2, mode="constant")
    peak = smooth.max(axis=2, keepdims=True)
    table = np.divide(smooth, peak, out=np.zeros_like(smooth), where=peak > 0)
    known = examples >= min_count
    if not known.any():
        raise ValueError(f"no camera pair has {min_count} examples, the most are {int(examples.max(initial=0))}")
    if unknown is None:
        unknown = float(np.median(table[(counts > 0) & known[:, :, None]]))
    table[~known] = unknown
    return TravelTable(table.astype(np.float32), bin, unknown), examples


def travel_from_times(
    times: Mapping[tuple[int, int], tuple[float, float]],
    cameras: int,
    frame_rate: float,
    *,
    bin: int = 100,
    max_lag: int = 20_000,
    unknown: float | None = None,
) -> TravelTable:
    """A table from known walking times: ``p = exp(-(lag - mean)^2 / (2 std^2))`` per direction.

    Args:
        times: (from, to), 0-based -> mean and standard deviation in seconds. Where both directions of a pair are given,
            the larger p counts.
        frame_rate: frames per second.
        unknown: p of camera pairs without times and of lags beyond the table; None: 0.5.
    """
    half = max_lag // bin
    seconds = np.arange(-half, half + 1) * bin / frame_rate
    table = np.zeros((cameras, cameras, 2 * half + 1))
    known = np.zeros((cameras, cameras), dtype=bool)
    for (a, b), (mean, std) in times.items():
        shape = np.exp(-((seconds - mean) ** 2) / (2 * std**2))
        table[a, b] = np.maximum(table[a, b], shape)
        table[b, a] = np.maximum(table[b, a], shape[::-1])
        known[a, b] = known[b, a] = True
    unknown = 0.5 if unknown is None else unknown
    table[~known] = unknown
    return TravelTable(table.astype(np.float32), bin, unknown)
