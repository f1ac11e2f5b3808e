"""Extraction by several processes, and after the sudden end of one: the same bytes as by one in peace."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import psutil

from tests.distributed.conftest import TIMEOUT, torchrun, torchrun_command, torchrun_environment
from unreid.workbench.crops import list_crops
from unreid.workbench.encoder import load_encoder
from unreid.workbench.extraction import extract_to_file

SLOW = """
import time
from unreid.workbench.extraction import _Parts
write = _Parts.write
def slowly(self, number, found):
    write(self, number, found)
    time.sleep(600 if number > 1 else 0)
_Parts.write = slowly
"""


def test_two_processes_of_which_one_was_killed_write_what_one_writes(
    tmp_path: Path, crops: Path, checkpoint: Path
) -> None:
    options = ["--batch-size", "4", "--part", "4", "--device", "cpu", "--set", "TEST.FLIP", "True"]
    encoder = load_encoder(checkpoint, overrides=["TEST.FLIP", "True"])
    extract_to_file(encoder, list_crops(crops), tmp_path / "one.npz", batch_size=4)
    (tmp_path / "slow.py").write_text(SLOW)
    words = ["-m", "unreid", "extract", str(checkpoint), str(crops), "-o", str(tmp_path / "two.npz"), *options]
    parts = tmp_path / "two.npz.parts"

    begun = subprocess.Popen(
        torchrun_command(*words, "--plugins", str(tmp_path / "slow.py")),
        env=torchrun_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + TIMEOUT
    while not {"0000002.npz", "0000003.npz"} <= {path.name for path in parts.glob("*.npz")}:  # both ranks are at work
        assert begun.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    ranks = [child for child in psutil.Process(begun.pid).children() if "unreid" in child.cmdline()]
    ranks[-1].send_signal(signal.SIGKILL)
    said = begun.communicate(timeout=TIMEOUT)[0]
    assert begun.returncode != 0, said
    assert not (tmp_path / "two.npz").exists()
    assert sorted(path.name for path in parts.glob("*.npz")) == [f"{number:07}.npz" for number in range(4)]

    done = torchrun(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "images were done before: going on" in done.stdout
    assert (tmp_path / "two.npz").read_bytes() == (tmp_path / "one.npz").read_bytes()
