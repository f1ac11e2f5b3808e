"""What the parts about hostile files share: a bound on memory."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

ROOM = 2 << 30
"""Bytes beyond what the process has now; a file that expands without end needs more."""


@contextlib.contextmanager
def bounded_memory(room: int = ROOM) -> Iterator[None]:
    """Allocations beyond ``room`` more bytes than now fail with ``MemoryError`` inside the block."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + room
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
