"""Wall time and peak memory go to the phase they belong to."""

from __future__ import annotations

import mmap
import time
from pathlib import Path

import pytest
import torch

from tests.conftest import needs_cuda
from unreid.utils.phases import MIB, PhaseTimer, peak_rss_mib


def _resettable() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def test_times_add_up_over_entries_and_nest() -> None:
    timer = PhaseTimer()
    for _ in range(2):
        with timer.phase("outer"):
            time.sleep(0.01)
            with timer.phase("inner") as stats:
                time.sleep(0.02)
    outer, inner = timer.totals["outer"], timer.totals["inner"]
    assert inner.count == outer.count == 2
    assert 0.02 <= stats.seconds <= inner.seconds <= outer.seconds < 1
    assert outer.peak_cuda is None or torch.cuda.is_available()


@pytest.mark.skipif(not _resettable(), reason="the kernel does not let a process reset its high-water mark")
def test_a_peak_belongs_to_its_phase_and_to_those_around_it() -> None:
    timer = PhaseTimer()
    base = peak_rss_mib()
    with timer.phase("outer"):
        # Pages of the kernel's, not of the heap, where free ones may be resident already.
        with timer.phase("big"), mmap.mmap(-1, 64 * MIB) as pages:
            pages.write(bytes(64 * MIB))
        with timer.phase("small"):
            pass
    stats = timer.totals
    assert stats["big"].peak_rss > stats["small"].peak_rss + 40
    assert stats["outer"].peak_rss >= stats["big"].peak_rss > base - 40


@needs_cuda
def test_cuda_peak() -> None:
    timer = PhaseTimer()
    torch.zeros(1, device="cuda")
    with timer.phase("outer"):
        with timer.phase("big"):
            torch.zeros(2**24, device="cuda")
        with timer.phase("small"):
            pass
    big, small, outer = (timer.totals[name].peak_cuda for name in ("big", "small", "outer"))
    assert big is not None and small is not None and outer is not None
    assert big >= small + 60 and outer >= big
