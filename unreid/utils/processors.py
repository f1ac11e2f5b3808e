"""How many processors this process may use, and how its threads wait for each other; nothing here imports torch."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Variables by which a user may have said how OpenMP's threads wait."""


def usable_processors(root: Path = CGROUP) -> int:
    """Processors of this process's affinity (``taskset``), and of its container's quota where that is less; >= 1."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(root)
    return count if quota is None else max(1, min(count, math.ceil(quota)))


def wait_without_spinning(environment: MutableMapping[str, str] = os.environ) -> None:
    """Lets OpenMP's threads sleep while they wait; to be called before torch is imported, later it has no effect.

    By default they spin. Where other work wants the processors, a thread then burns the very time that the one it waits
    for needs, and two threads are many times slower than one. What a user has set stays.
    """
    if "torch" not in sys.modules and not any(name in environment for name in WAITING):
        environment["OMP_WAIT_POLICY"] = "passive"


def limit_threads() -> None:
    """Takes torch's threads down to the usable processors, unless ``OMP_NUM_THREADS`` says how many there shall be."""
    import torch

    usable = usable_processors()
    if "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > usable:
        torch.set_num_threads(usable)


def _quota(root: Path) -> float | None:
    """Processors that a Linux control group grants, of version 2 or 1; None: as many as there are."""
    try:
        files = [root / "cpu.max"]
        if not files[0].exists():
            files = [root / "cpu" / "cpu.cfs_quota_us", root / "cpu" / "cpu.cfs_period_us"]
        granted, period = " ".join(file.read_text() for file in files).split()
        return float(granted) / float(period) if granted not in ("max", "-1") else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
