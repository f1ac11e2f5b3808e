"""Lets the C library keep the memory that a step gives back, so that the next step finds it there.

glibc takes every block above 32 MB at most from the kernel and gives it back at once. The maps of a training step on a
CPU are such blocks: each step has the kernel clear hundreds of thousands of pages (a tenth to a fifth of the step).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping

CHOSEN = ("GLIBC_TUNABLES", "LD_PRELOAD", "MALLOC_")
"""Beginnings of variables by which a user may have chosen or set an allocator."""

_TRIM, _MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
LARGE = 2**30  # bytes of a block that still goes back to the kernel at once: tables of a round, not maps of a step
KEPT = 2**31 - 1  # bytes at the end of the heap that stay; the largest number mallopt takes


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Asks glibc to keep freed blocks of up to 1 GiB, about 2 GiB in all beyond what is in use; whether it will.

    Other C libraries do without (False), and what a user has set stays.
    """
    if any(name.startswith(CHOSEN) for name in environment):
        return False
    try:
        c = ctypes.CDLL(None)
        c.gnu_get_libc_version  # noqa: B018  # musl has a mallopt that does nothing
        return bool(c.mallopt(_MMAP, LARGE)) and bool(c.mallopt(_TRIM, KEPT))
    except (OSError, AttributeError, TypeError):
        return False
