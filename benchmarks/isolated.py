"""Time and peak memory of one piece of work in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def call(script: str, arguments: Sequence[object]) -> dict[str, Any]:
    """Runs ``script`` with ``arguments`` in a fresh process and returns the JSON object on its last line of output."""
    command = [sys.executable, script, *(str(argument) for argument in arguments)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.strip().splitlines()[-1])


class Meter:
    """Context manager: ``seconds``, ``cpu_seconds`` and ``peak_mb``, resident memory above that at entry (Linux)."""

    def __enter__(self) -> Meter:
        Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
        self._before = _status("VmRSS")
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._wall
        self.cpu_seconds = time.process_time() - self._cpu
        self.peak_mb = (_status("VmHWM") - self._before) / 1024


def _status(key: str) -> int:
    """Kibibytes of an entry of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise KeyError(key)
