"""Wall time and peak memory of the phases of a run (extract, neighbors, cluster, train, evaluate)."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

MIB = 2**20


@dataclass
class PhaseStats:
    """What one phase took.

    Attributes:
        seconds: wall time, summed over ``count`` entries.
        peak_rss: largest resident memory of this process, MiB; loader processes do not count.
        peak_cuda: largest memory that torch had allocated on the current CUDA device, MiB; None without CUDA.
        count: entries.
    """

    seconds: float = 0.0
    peak_rss: float = 0.0
    peak_cuda: float | None = None
    count: int = 0

    def add(self, other: PhaseStats) -> None:
        """Fold in another measurement: times add up, peaks take the larger."""
        self.seconds += other.seconds
        self.peak_rss = max(self.peak_rss, other.peak_rss)
        if other.peak_cuda is not None:
            self.peak_cuda = max(self.peak_cuda or 0.0, other.peak_cuda)
        self.count += other.count


class PhaseTimer:
    """Measures named phases, which may nest; ``totals`` maps each name to its sum.

    The peak of resident memory belongs to the phase where the kernel lets a process reset its high-water mark
    (Linux); elsewhere it is the largest value since the process began.

    Example:
        >>> timer = PhaseTimer()
        >>> with timer.phase("cluster"):
        ...     pass
        >>> timer.totals["cluster"].count
        1
    """

    def __init__(self) -> None:
        self.totals: dict[str, PhaseStats] = {}
        self._open: list[PhaseStats] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[PhaseStats]:
        """Measure the block; the yielded stats are complete when it ends, also when it raises."""
        self._fold_peaks()
        stats = PhaseStats(count=1)
        _reset_peaks()
        _wait_for_device()
        self._open.append(stats)
        start = time.perf_counter()
        try:
            yield stats
        finally:
            _wait_for_device()
            stats.seconds = time.perf_counter() - start
            self._fold_peaks()
            self._open.pop()
            _reset_peaks()
            self.totals.setdefault(name, PhaseStats()).add(stats)

    def _fold_peaks(self) -> None:
        """Credit the peaks since the last reset to every open phase, because resetting forgets them."""
        rss, cuda = peak_rss_mib(), peak_cuda_mib()
        for stats in self._open:
            stats.add(PhaseStats(0.0, rss, cuda))


def peak_rss_mib() -> float:
    """High-water mark of this process's resident memory in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MIB if sys.platform == "darwin" else peak / 1024


def peak_cuda_mib() -> float | None:
    """Largest memory that torch had allocated on the current CUDA device in MiB; None while CUDA is not in use."""
    return torch.cuda.max_memory_allocated() / MIB if torch.cuda.is_initialized() else None


def _reset_peaks() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # 5 resets VmHWM to the current size
    except OSError:
        return  # not Linux, or not allowed: the mark keeps its value since the start


def _wait_for_device() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
