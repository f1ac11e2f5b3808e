"""Starts jobs of two processes on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROCESSES = 2
TIMEOUT = 240  # seconds; a job that hangs must fail the test, not the suite


def torchrun_command(*arguments: Any, options: tuple[str, ...] = ()) -> list[str]:
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={PROCESSES}"),
        *options,
        *map(str, arguments),
    ]


def torchrun_environment() -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return {**inherited, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}


def torchrun(*arguments: Any, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Runs a script (or ``-m module``) in PROCESSES processes and waits for them."""
    return subprocess.run(
        torchrun_command(*arguments, options=options),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=ROOT,
        env=torchrun_environment(),
    )


def run_jobs(folder: Path, *names: str) -> Path:
    """Runs entries of :mod:`tests.distributed.jobs` one after the other in one job; returns ``folder``."""
    done = torchrun("-m", "tests.distributed.jobs", folder, *names)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder


def by_rank(folder: Path) -> list[dict[str, Any]]:
    """What every process of a job wrote."""
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(PROCESSES)]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for single-process runs."""
    return tmp_path_factory.mktemp("one")


RunJobs = Callable[..., Path]
