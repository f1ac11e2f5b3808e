"""Extraction by several processes, and after a sudden end: the same bytes as by one in peace."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.distributed.conftest import torchrun, torchrun_environment
from tests.workbench.test_extraction import checkpoint, crops
from unreid.workbench.crops import list_crops
from unreid.workbench.encoder import load_encoder
from unreid.workbench.extraction import extract_to_file

__all__ = ["checkpoint", "crops"]


def test_two_processes_and_a_killed_one_write_what_one_writes(tmp_path: Path, crops: Path, checkpoint: Path) -> None:
    options = ["--batch-size", "4", "--part", "4", "--device", "cpu", "--set", "TEST.FLIP", "True"]
    encoder = load_encoder(checkpoint, overrides=["TEST.FLIP", "True"])
    extract_to_file(encoder, list_crops(crops), tmp_path / "one.npz", batch_size=4)
    words = ["extract", str(checkpoint), str(crops), "-o", str(tmp_path / "two.npz"), *options]
    begun = subprocess.Popen([sys.executable, "-m", "unreid", *words], env=torchrun_environment())
    deadline = time.monotonic() + 60
    while not (tmp_path / "two.npz.parts" / "plan.json").exists() and begun.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    begun.send_signal(signal.SIGKILL)
    begun.wait()
    if not (tmp_path / "two.npz").exists():  # else it was faster than the signal
        done = torchrun("-m", "unreid", *words)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "two.npz").read_bytes() == (tmp_path / "one.npz").read_bytes()
