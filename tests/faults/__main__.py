"""Puts every fault into a copy of the checkout, one at a time, and says whether its tests notice.

Example::

    python -m tests.faults                        # all, minutes
    python -m tests.faults engine/rounds.py optim # those whose line contains one of the words
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

# Imported once, here: every trial is a fork of this process.
import hypothesis  # noqa: F401
import pytest
import scipy.sparse.csgraph  # noqa: F401
import torch  # noqa: F401
import torchvision.models  # noqa: F401

from tests.faults.fault import ROOT, Fault
from tests.faults.faults import FAULTS

SECONDS = 300  # a fault that makes a test hang is noticed, too
OUTPUT = "output.txt"  # of the last tests that were run
ROOMS = ("unreid", "tests", "tools", "benchmarks", "configs", "docs")


def main(words: list[str]) -> int:
    """Returns 0 when the tests pass without a fault and every fault is noticed."""
    chosen = [fault for fault in FAULTS if not words or any(word in str(fault) for word in words)]
    with tempfile.TemporaryDirectory(prefix="faults_") as folder:
        copy = Path(folder) / "checkout"
        for room in ROOMS:
            shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        broken = [
            target for target in sorted({t for fault in chosen for t in fault.targets}) if not sound(copy, target)
        ]
        asked = [fault for fault in chosen if not set(fault.targets) & set(broken)]
        unnoticed = [fault for fault in asked if not noticed(copy, fault)]
    print(f"{len(asked)} faults put in, {len(unnoticed)} not noticed, {len(chosen) - len(asked)} not put in")
    return 1 if unnoticed or broken else 0


def sound(copy: Path, target: str) -> bool:
    """Whether tests pass without a fault; otherwise they can notice none."""
    if passes(copy, [target]):
        return True
    print((copy.parent / OUTPUT).read_text(encoding="utf-8", errors="replace")[-4000:])
    print(f"{target} fails without any fault, or takes more than {SECONDS} s: mend that first", flush=True)
    return False


def noticed(copy: Path, fault: Fault) -> bool:
    """Whether the tests of a fault fail with it."""
    file = copy / fault.path
    text = file.read_text(encoding="utf-8")
    started = time.perf_counter()
    file.write_text(fault.applied(text), encoding="utf-8")
    try:
        found = not passes(copy, list(fault.targets))
    finally:
        file.write_text(text, encoding="utf-8")
    print(f"{'noticed' if found else 'NOT NOTICED':12}{time.perf_counter() - started:5.1f} s  {fault}", flush=True)
    return found


def passes(copy: Path, targets: list[str]) -> bool:
    """Whether tests pass in the copy, run by a fork of this process that has imported nothing of the package."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setsid()
            status = _run(copy, targets)
        finally:
            os._exit(status)
    deadline = time.monotonic() + SECONDS
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False
        time.sleep(0.05)


def _run(copy: Path, targets: list[str]) -> int:
    os.chdir(copy)
    sink = os.open(copy.parent / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "unreid")]:
        del sys.modules[name]
    sys.path[:] = [str(copy), *(path for path in sys.path if path and Path(path).resolve() != ROOT)]
    os.environ["PYTHONPATH"] = str(copy)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # two versions of a file may have one size and one second
    sys.dont_write_bytecode = True
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *targets]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
