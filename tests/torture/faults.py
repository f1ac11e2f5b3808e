"""Lets the system refuse the k-th write below a folder: the disk is full, read-only, broken."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Faults:
    """Counts the calls that change something below ``root``, and makes some of them fail.

    Args:
        root: calls elsewhere are let through.
        first: number of the first call that fails, from 0; -1: none.
        last: number of the last.
        error: number of the system's error.
        journal: gets "operation path" of every call, a line each; None: no journal.
    """

    def __init__(self, root: str, first: int, last: int, error: int, journal: int | None) -> None:
        self.root = root
        self.calls = 0
        self.failing = range(first, last + 1) if first >= 0 else range(0)
        self.error = error
        self.journal = journal
        self.files: dict[int, str] = {}
        self._write = os.write

    def install(self) -> None:
        """Replaces the functions of ``os`` and ``open`` in this process."""
        for name in ("replace", "rename", "mkdir"):
            setattr(os, name, self._checked(name, getattr(os, name)))
        os.open = self._open(os.open)  # type: ignore[assignment]
        os.write = self._on_handle("write", os.write)  # type: ignore[assignment]
        os.fsync = self._on_handle("fsync", os.fsync)  # type: ignore[assignment]
        builtins.open = io.open = self._open_file(io.open)  # type: ignore[assignment]

    def check(self, operation: str, path: Any) -> None:
        """Counts one call; :class:`OSError` where it is one that fails."""
        name = os.fspath(path) if isinstance(path, (str, os.PathLike)) else ""
        if not name.startswith(self.root):
            return
        number, self.calls = self.calls, self.calls + 1
        if self.journal is not None:
            self._write(self.journal, f"{operation} {name}\n".encode())
        if number in self.failing:
            raise OSError(self.error, os.strerror(self.error), name)

    def _checked(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def checked(path: Any, *args: Any, **kwargs: Any) -> Any:
            if name != "mkdir" or not os.path.isdir(path):
                self.check(name, path)
            return call(path, *args, **kwargs)

        return checked

    def _open(self, call: Callable[..., int]) -> Callable[..., int]:
        def opened(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            if flags & WRITING:
                self.check("open", path)
            handle = call(path, flags, *args, **kwargs)
            self.files.pop(handle, None)
            if flags & WRITING and isinstance(path, (str, os.PathLike)):
                self.files[handle] = os.fspath(path)
            return handle

        return opened

    def _on_handle(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def checked(handle: int, *args: Any) -> Any:
            path = self.files.get(handle, "")
            try:
                self.check(name, path)
            except OSError:
                if name == "write" and len(args[0]) > 1:
                    call(handle, args[0][: len(args[0]) // 2])  # a full disk takes a part
                raise
            return call(handle, *args)

        return checked

    def _open_file(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def opened(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if not set(mode) & set("wax+"):
                return call(path, mode, *args, **kwargs)
            self.check("open", path)
            file = call(path, mode, *args, **kwargs)
            return _File(file, lambda: self.check("write", path))

        return opened


class _File:
    """A file whose writes are checked."""

    def __init__(self, file: Any, check: Callable[[], None]) -> None:
        self._file, self._check = file, check

    def write(self, data: Any) -> Any:
        try:
            self._check()
        except OSError:
            self._file.write(data[: len(data) // 2])
            raise
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *args: Any) -> None:
        self._file.close()


def install() -> None:
    """In a child: as the environment says (``FAULT_ROOT``, ``FAULT_CALLS`` "first-last", ``FAULT_ERROR``, ...)."""
    given = os.environ
    first, last = map(int, given.get("FAULT_CALLS", "-1:-1").split(":"))
    journal = given.get("FAULT_JOURNAL")
    handle = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if journal else None
    Faults(given["FAULT_ROOT"], first, last, int(given.get("FAULT_ERROR", errno.ENOSPC)), handle).install()


def limit_file_size() -> None:
    """In a child: no file may grow beyond ``FAULT_BYTES`` (the system's own limit, ``ulimit -f``)."""
    import resource

    size = int(os.environ["FAULT_BYTES"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def calls(journal: Path) -> list[tuple[str, str]]:
    """(operation, path) of every call of a run without faults."""
    pairs = (line.partition(" ") for line in journal.read_text().splitlines())
    return [(operation, path) for operation, _, path in pairs]
