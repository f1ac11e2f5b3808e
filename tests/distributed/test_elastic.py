"""A killed process: torchrun starts the job anew, and the run goes on from its last checkpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import torch

from tests.distributed.conftest import ROOT, TIMEOUT, torchrun, torchrun_command, torchrun_environment
from tests.distributed.jobs import arguments
from tests.engine.stored import load_run
from tests.engine.test_runs import assert_same_weights

LONGER = ("OPTIM.EPOCHS", "8", "RESUME", "auto")


def workers(job: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The training processes of a job, by rank."""
    found = [child for child in psutil.Process(job.pid).children() if "tools/main.py" in " ".join(child.cmdline())]
    return sorted(found, key=lambda child: int(child.environ()["RANK"]))


def wait_for(path: Path, job: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + TIMEOUT
    while not path.exists():
        assert job.poll() is None and time.monotonic() < limit, f"{path.name} did not appear"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_run_survives_the_death_of_a_process(tmp_path: Path, rank: int) -> None:
    whole = torchrun("tools/main.py", *arguments(tmp_path, "whole", "CDSM", *LONGER))
    assert whole.returncode == 0, whole.stderr[-4000:]
    command = torchrun_command(
        "tools/main.py", *arguments(tmp_path, "killed", "CDSM", *LONGER), options=("--max-restarts=2",)
    )
    folder = tmp_path / "killed"
    with subprocess.Popen(command, cwd=ROOT, env=torchrun_environment(), stderr=subprocess.DEVNULL) as job:
        wait_for(folder / "checkpoint.pth", job)
        first = workers(job)
        os.kill(first[rank].pid, signal.SIGKILL)
        assert job.wait(TIMEOUT) == 0
    assert "going on from" in (folder / "log.txt").read_text()
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = [row["step"] for row in rows if any(name.startswith("loss/") for name in row)]
    assert steps == list(range(1, 33)), "every step is in the metrics once"

    expected, found = (load_run(tmp_path / name / "checkpoint.pth") for name in ("whole", "killed"))
    assert found["state"] == expected["state"]
    assert_same_weights(expected["model"], found["model"])
    assert torch.equal(expected["method"]["memory"]["bank"], found["method"]["memory"]["bank"])
