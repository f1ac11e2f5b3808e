"""Memory that a step gives back stays in the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from unreid.utils.allocator import keep_freed_memory

GLIBC = platform.libc_ver()[0] == "glibc"
FAULTS = """
import resource, torch
from unreid.utils.allocator import keep_freed_memory
if {keep}: assert keep_freed_memory({{}})
for _ in range(10): torch.ones(2**24)  # 64 MB, and gone
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20): torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.parametrize("variable", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "LD_PRELOAD"])
def test_what_the_user_chose_stays(variable: str) -> None:
    assert not keep_freed_memory({variable: "1"})


@pytest.mark.skipif(not GLIBC, reason="another C library")
def test_the_same_pages_serve_every_step() -> None:
    def faults(keep: bool) -> int:
        code = FAULTS.format(keep=keep)
        return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)

    kept, given_back = faults(True), faults(False)
    assert kept < 1000 < given_back
