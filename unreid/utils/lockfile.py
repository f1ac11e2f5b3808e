"""A lock on a folder that outlives nobody: one holder at a time, over processes and machines."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from unreid.utils.errors import UserError

try:
    import fcntl
except ModuleNotFoundError:  # not on this system
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

_TRIES = 5  # another process may be looking at the file for a moment
_PAUSE = 0.05  # seconds
_HELD_ELSEWHERE = (errno.EACCES, errno.EAGAIN)
_held: set[str] = set()  # files this process holds: the system's locks do not tell two holders in one process apart


class HeldError(UserError):
    """Another run holds the lock; the message says who."""


class LockFile:
    """A file that is locked while its holder lives and removed when it is done.

    The system releases the lock of a process that ends, however it ends, so a file that a killed run left behind is
    free: the next holder takes it over and the log says so. Record locks are used, which work over NFS and which
    worker processes do not inherit. Where a file system has no locks, the file's existence is the lock, and it is
    stale when the process it names (by number, start time and boot) is gone from this machine.

    Args:
        path: the file; its folder must exist when the lock is taken.
        what: the thing it protects, for messages: "OUTPUT_DIR logs/mine".
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self.what = what
        self._handle: int | None = None

    def check(self) -> None:
        """Raises :class:`HeldError` if the lock is held now; writes nothing."""
        if str(self.path.absolute()) in _held:
            raise self._refusal({"pid": os.getpid(), "host": socket.gethostname()})
        if self._claim.exists() and not _is_gone(_read(self._claim)):
            raise self._refusal(_read(self._claim))
        if fcntl is None or not self.path.is_file():
            return
        for attempt in range(_TRIES):
            with contextlib.suppress(FileNotFoundError), self.path.open("rb") as file:
                try:
                    fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError as error:
                    if error.errno not in _HELD_ELSEWHERE:
                        return  # no locks here
                    if attempt == _TRIES - 1:
                        raise self._refusal(_read(self.path)) from None
                else:
                    return
            time.sleep(_PAUSE)

    def __enter__(self) -> Self:
        key = str(self.path.absolute())
        if key in _held:
            raise self._refusal({"pid": os.getpid(), "host": socket.gethostname()})
        previous = self._take() if fcntl is not None else self._take_by_name()
        if previous:
            logger.warning(
                "%s: taken over from process %s on %s, which ended without a word",
                self.what,
                previous.get("pid"),
                previous.get("host"),
            )
        _held.add(key)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _held.discard(str(self.path.absolute()))
        # Removed while it is still held: whoever opens it afterwards makes a new one.
        for path in (self.path, self._claim) if self._handle is None else (self.path,):
            with contextlib.suppress(OSError):
                path.unlink()
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    # -------------------------------------------------------------------------------------- with system locks

    def _take(self) -> dict[str, Any]:
        """Takes the lock and returns what the file said of a holder that did not release it."""
        for _ in range(100 * _TRIES):  # it may be released and made anew under our hands
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
            try:
                self._lock(handle)
            except OSError as error:
                os.close(handle)
                if error.errno in _HELD_ELSEWHERE:
                    raise self._refusal(_read(self.path)) from None
                return self._take_by_name()
            if not _is_same(handle, self.path):
                os.close(handle)
                continue
            previous = _parse(os.pread(handle, 4096, 0))
            try:
                os.ftruncate(handle, 0)
                os.pwrite(handle, json.dumps(_self()).encode(), 0)
            except OSError:  # a full disk
                self.path.unlink()
                os.close(handle)
                raise
            self._handle = handle
            return previous
        raise self._refusal(_read(self.path))

    @staticmethod
    def _lock(handle: int) -> None:
        for attempt in range(_TRIES):
            try:
                return fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _HELD_ELSEWHERE or attempt == _TRIES - 1:
                    raise
            time.sleep(_PAUSE)

    # ----------------------------------------------------------------------------------- without system locks

    @property
    def _claim(self) -> Path:
        return self.path.with_name(f"{self.path.name}.claim")

    def _take_by_name(self) -> dict[str, Any]:
        """The same where a file system has no locks: only one process can give a file a name that is free."""
        own = self.path.with_name(f"{self.path.name}.{socket.gethostname()}.{os.getpid()}")
        own.write_text(json.dumps(_self()), encoding="utf-8")
        previous: dict[str, Any] = {}
        try:
            for _ in range(_TRIES):
                with contextlib.suppress(FileExistsError):
                    os.link(own, self._claim)
                    return previous
                previous = _read(self._claim)
                if not _is_gone(previous):
                    break
                aside = own.with_name(f"{own.name}.stale")
                with contextlib.suppress(FileNotFoundError):
                    os.rename(self._claim, aside)  # of several, one succeeds
                    if _read(aside) != previous:  # it was another's by then: give it back
                        with contextlib.suppress(FileExistsError):
                            os.link(aside, self._claim)
                    aside.unlink()
            raise self._refusal(_read(self._claim))
        finally:
            own.unlink()

    def _refusal(self, holder: dict[str, Any]) -> HeldError:
        who = f"process {holder['pid']} on {holder.get('host')}" if "pid" in holder else "another process"
        hint = "" if fcntl is not None and not self._claim.exists() else f" (if it is over, remove {self._claim})"
        return HeldError(
            f"{self.what} is in use by {who}: wait for that run to end, or give this one another folder{hint}."
        )


def _self() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "started": _start_of(os.getpid()), "boot": _boot()}


def _is_gone(holder: dict[str, Any]) -> bool:
    """Whether a holder is known to have ended; of another machine's nothing is known."""
    pid = holder.get("pid")
    if not isinstance(pid, int) or holder.get("host") != socket.gethostname():
        return False
    if holder.get("boot") != _boot():
        return True
    started = _start_of(pid)
    if started is not None:
        return started != holder.get("started")  # the number may belong to another process by now
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _start_of(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot, or None (no such process, or a system without /proc)."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _is_same(handle: int, path: Path) -> bool:
    """Whether ``path`` still is the open file: another holder may have removed it before it was locked."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(handle), there)


def _read(path: Path) -> dict[str, Any]:
    try:
        return _parse(path.read_bytes())
    except OSError:
        return {}


def _parse(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
