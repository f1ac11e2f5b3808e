"""Processors that a process may use, and how its threads wait."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

from unreid.utils import processors
from unreid.utils.processors import limit_threads, usable_processors, wait_without_spinning

WHOLE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, WHOLE),
        ({"cpu.max": "max 100000\n"}, WHOLE),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "20000 100000\n"}, 1),
        ({"cpu.max": "99900000 100000\n"}, WHOLE),
        ({"cpu.max": "nonsense"}, WHOLE),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, WHOLE),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_the_quota_of_a_container_counts(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_processors(tmp_path) == expected


def test_threads_sleep_unless_the_user_said_how_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    for given in ({}, {"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "5"}, {"KMP_BLOCKTIME": "1"}):
        environment = dict(given)
        wait_without_spinning(environment)
        assert environment == (given or {"OMP_WAIT_POLICY": "passive"})


def test_it_is_too_late_once_torch_is_there() -> None:
    environment: dict[str, str] = {}
    wait_without_spinning(environment)
    assert environment == {}


def test_torch_gets_no_more_threads_than_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", found.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(processors, "usable_processors", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    limit_threads()
    assert found == []
    monkeypatch.delenv("OMP_NUM_THREADS")
    limit_threads()
    monkeypatch.setattr(processors, "usable_processors", lambda: 16)
    limit_threads()
    assert found == [2]
