"""A folder has one writer: over processes, after a sudden death, and where a file system has no locks."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from unreid.utils import lockfile
from unreid.utils.lockfile import HeldError, LockFile

ROOT = Path(__file__).parents[2]

HOLDER = """
import sys, time
from pathlib import Path
from unreid.utils import lockfile
from unreid.utils.errors import UserError
if sys.argv[2] == "names":
    lockfile.fcntl = None
start = float(sys.argv[3])
while time.time() < start:
    pass
try:
    with lockfile.LockFile(Path(sys.argv[1]), "the folder"):
        print("held", flush=True)
        sys.stdin.read()
except UserError as error:
    print(error, flush=True)
"""


def holder(path: Path, kind: str, start: float = 0.0) -> subprocess.Popen[str]:
    """A process that takes the lock, says so (or why not), and holds it until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), kind, str(start)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.fixture(params=["system locks", "names"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "names":
        monkeypatch.setattr(lockfile, "fcntl", None)
    return request.param


@pytest.fixture
def other(tmp_path: Path, kind: str) -> Iterator[subprocess.Popen[str]]:
    process = holder(tmp_path / ".lock", kind)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_folder_in_use_is_refused_with_its_holder_and_is_free_afterwards(
    tmp_path: Path, other: subprocess.Popen[str]
) -> None:
    lock = LockFile(tmp_path / ".lock", "the folder")
    for attempt in (lock.check, lock.__enter__):
        with pytest.raises(HeldError, match=f"the folder is in use by process {other.pid} on {socket.gethostname()}"):
            attempt()
    other.communicate()  # its input ends, and so does it
    lock.check()
    with lock:
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_holder_left_is_taken_over_and_said(
    tmp_path: Path, other: subprocess.Popen[str], caplog: pytest.LogCaptureFixture
) -> None:
    other.kill()
    other.wait()
    assert any(tmp_path.iterdir())
    lock = LockFile(tmp_path / ".lock", "the folder")
    lock.check()
    with caplog.at_level(logging.WARNING), lock:
        assert f"taken over from process {other.pid}" in caplog.text
        with pytest.raises(HeldError):
            LockFile(tmp_path / ".lock", "the folder").check()
    assert list(tmp_path.iterdir()) == []


def test_of_processes_that_start_at_one_moment_one_wins(tmp_path: Path, kind: str) -> None:
    import time

    for number in range(3):
        path = tmp_path / f"{number}.lock"
        if number == 2:  # a stale one in the way
            stale = {"pid": 2**22 + 1, "host": socket.gethostname(), "started": 1, "boot": lockfile._boot()}
            for name in (path.name, f"{path.name}.claim") if kind == "names" else (path.name,):
                path.with_name(name).write_text(json.dumps(stale))
        racers = [holder(path, kind, time.time() + 0.4) for _ in range(4)]
        said = [racer.stdout.readline() for racer in racers if racer.stdout]
        for racer in racers:
            racer.communicate()
        assert said.count("held\n") == 1, said
        assert sum("in use by" in line for line in said) == 3, said


def test_a_file_that_its_holder_removed_while_it_was_being_locked_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, others = tmp_path / ".lock", []
    original = LockFile._lock

    def late(handle: int) -> None:
        if not others:  # the holder ends here, and another takes its place
            path.unlink()
            others.append(holder(path, "system locks"))
            assert others[0].stdout is not None and others[0].stdout.readline() == "held\n"
        original(handle)

    monkeypatch.setattr(LockFile, "_lock", staticmethod(late))
    with pytest.raises(HeldError, match=r"in use by process \d+"):
        LockFile(path, "the folder").__enter__()
    others[0].communicate()


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({}, False),
        ({"pid": 2**22 + 1}, True),  # beyond the largest process number
        ({"started": 1}, True),  # the number was given to another process meanwhile
        ({"boot": "before the restart"}, True),
        ({"host": "another.machine", "pid": 2**22 + 1}, False),  # nobody here can know
    ],
)
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_who_is_gone_is_told_by_number_start_and_boot(change: dict[str, object], gone: bool) -> None:
    assert lockfile._is_gone({**lockfile._self(), **change}) is gone


@pytest.mark.parametrize(("error", "gone"), [(None, False), (ProcessLookupError(), True), (PermissionError(), False)])
def test_where_a_system_does_not_say_when_processes_began_a_signal_asks(
    monkeypatch: pytest.MonkeyPatch, error: OSError | None, gone: bool
) -> None:
    """Somebody else's process lives, though it may not be asked."""
    monkeypatch.setattr(lockfile, "_start_of", lambda pid: None)
    asked = []

    def kill(pid: int, number: int) -> None:
        asked.append((pid, number))
        if error is not None:
            raise error

    holder = lockfile._self()
    monkeypatch.setattr(os, "kill", kill)
    assert lockfile._is_gone(holder) is gone and asked == [(os.getpid(), 0)]


def test_one_process_does_not_hold_a_lock_twice(tmp_path: Path, kind: str) -> None:
    lock = LockFile(tmp_path / ".lock", "the folder")
    with lock, pytest.raises(HeldError):
        LockFile(tmp_path / ".lock", "the folder").__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    assert lockfile.fcntl is not None
    monkeypatch.setattr(lockfile.fcntl, "lockf", refuse)
    with LockFile(tmp_path / ".lock", "the folder"), pytest.raises(HeldError):
        LockFile(tmp_path / ".lock", "the folder").check()
    assert list(tmp_path.iterdir()) == []
