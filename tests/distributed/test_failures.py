"""A process that fails ends the job: soon, with one message and an exit status other than 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.distributed.conftest import torchrun
from tests.distributed.jobs import arguments

FAULT = '''
"""Lets one process fail in the middle of training, while the other goes on to the next collective operation."""
import os

from unreid.engine.hooks import ScalarHook
from unreid.utils.errors import UserError

original = ScalarHook.after_step


def after_step(self, output):
    original(self, output)
    if os.environ["RANK"] == "1" and self.trainer.state.global_step == 3:
        raise {error}("the disk of process 1 is full")


ScalarHook.after_step = after_step
'''


def run_with_fault(tmp_path: Path, error: str) -> tuple[int, str]:
    plugin = tmp_path / "fault.py"
    plugin.write_text(FAULT.format(error=error))
    command = arguments(tmp_path, "run", "ClusterContrast", "PLUGINS", f"['{plugin}']")
    done = torchrun("tools/main.py", *command)
    return done.returncode, done.stdout + done.stderr


def test_a_mistake_that_one_process_meets_is_said_once_and_ends_all(tmp_path: Path) -> None:
    status, output = run_with_fault(tmp_path, "UserError")
    assert status != 0
    assert output.count("unreid: the disk of process 1 is full") == 1
    assert "Connection closed" not in output and "raise UserError" not in output
    assert "step 3" in output and "step 5" not in output


@pytest.mark.slow
def test_a_defect_keeps_its_traceback_once(tmp_path: Path) -> None:
    status, output = run_with_fault(tmp_path, "ZeroDivisionError")
    assert status != 0
    assert output.count("ZeroDivisionError: the disk of process 1 is full") == 1
    assert "Connection closed" not in output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("CLUSTER.EPSS", "0.5"), "CLUSTER.EPSS"),  # before the processes meet
        (("DATALOADER.TRAIN_BATCH_SIZE", "15", "DATALOADER.NUM_INSTANCE", "3", "MODEL.BN_CHUNKS", "1"), "2 processes"),
        (("MODEL.BN_CHUNKS", "1", "MODEL.SYNC_BN", "True"), "MODEL.SYNC_BN"),
        (("DATASETS.NAMES", "['Market1501']"), "Market-1501"),  # one process of a machine looks first
    ],
)
def test_a_mistake_that_all_processes_meet_is_said_once(
    tmp_path: Path, overrides: tuple[str, ...], sentence: str
) -> None:
    done = torchrun("tools/main.py", *arguments(tmp_path, "run", "ClusterContrast", *overrides))
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert [sentence in line for line in output.splitlines() if line.startswith("unreid: ")] == [True]
