"""A silent process is noticed; one that is busy, or has said goodbye, is not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
import torch.distributed as dist

from unreid.utils.liveness import Liveness

LIMIT = 0.5


@pytest.fixture
def pair() -> Iterator[tuple[Liveness, Liveness, list[str]]]:
    """Two processes' watches in one process, and what they say."""
    server = dist.TCPStore("127.0.0.1", 0, is_master=True, timeout=timedelta(seconds=5), wait_for_workers=False)
    said: list[str] = []
    watches = []
    for rank in (0, 1):
        own = dist.TCPStore("127.0.0.1", server.port, timeout=timedelta(seconds=5), wait_for_workers=False)
        watches.append(Liveness(own, rank, 2, LIMIT, said.append))
    time.sleep(0.3)
    yield watches[0], watches[1], said
    for watch in watches:
        watch.close(failed=True)


def test_living_processes_are_left_alone(pair: tuple[Liveness, Liveness, list[str]]) -> None:
    time.sleep(3 * LIMIT)
    assert pair[2] == [] and pair[0].silent() == ""


def test_a_silent_process_is_named(pair: tuple[Liveness, Liveness, list[str]]) -> None:
    pair[1].close(failed=True)  # as if it were gone: it counts no more
    assert pair[0].silent().startswith("rank 1 (")
    time.sleep(3 * LIMIT)
    assert len(pair[2]) == 1 and "no sign of life from rank 1 (" in pair[2][0] and "DIST.TIMEOUT_MINUTES" in pair[2][0]


def test_a_process_that_is_done_is_not_missed(pair: tuple[Liveness, Liveness, list[str]]) -> None:
    pair[1].close(failed=False)
    time.sleep(3 * LIMIT)
    assert pair[2] == []
