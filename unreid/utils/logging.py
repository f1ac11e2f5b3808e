"""One logger tree for the package: console on rank 0, a file for every rank."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from pathlib import Path
from typing import TextIO

from unreid.utils.writing import AppendFile, refusal

ROOT = "unreid"
_FORMAT = "%(asctime)s %(levelname).1s %(name)s: %(message)s"
_OURS = "_unreid_handler"
_UNWRITABLE = "backslashreplace"  # file names need not be text in any encoding


class _Lines:
    """When the log last had one, on the clock of ``time.monotonic``."""

    last = 0.0


def last_line() -> float:
    """When a line was last written, on the clock of ``time.monotonic``; 0 before the first."""
    return _Lines.last


class _Console(logging.StreamHandler[TextIO]):
    """Writes to whatever ``sys.stdout`` (or ``stderr``) is at that moment, so that capturing and redirection work."""

    def __init__(self, name: str = "stdout") -> None:
        logging.Handler.__init__(self)
        self._name = name

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """The current standard output, or standard error."""
        return getattr(sys, self._name)

    def emit(self, record: logging.LogRecord) -> None:
        _Lines.last = time.monotonic()
        super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        """The line, with ``\\x..`` or ``\\u....`` for what the console's encoding cannot show."""
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        return super().format(record).encode(encoding, _UNWRITABLE).decode(encoding)

    def handleError(self, record: logging.LogRecord) -> None:
        """Standard output is closed (``| head``), a terminal is gone, a disk is full: said once; the work goes on."""
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        logger = logging.getLogger(ROOT)
        logger.removeHandler(self)
        discard_stdout()
        reason = error.strerror or error
        logger.warning("standard output cannot be written: %s; the messages go on in the log file, if any", reason)


class _LogFile(logging.Handler):
    """``log.txt``. What does not fit on the disk is left out and counted; the work goes on."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = AppendFile(path)
        self._missing = 0

    def emit(self, record: logging.LogRecord) -> None:
        _Lines.last = time.monotonic()
        try:
            if self._missing:
                self._file.write(f"{self._missing} messages are missing here\n".encode())
                self._missing = 0
            self._file.write(f"{self.format(record)}\n".encode(errors=_UNWRITABLE))
        except OSError as error:
            self._missing += 1
            if self._missing == 1:
                sentence = refusal(self._file.path, error)
                logging.getLogger(ROOT).warning("%s The run goes on, and messages are missing there.", sentence)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        self._file.close()
        super().close()


def discard_stdout() -> None:
    """Lets what is still printed go nowhere: otherwise Python tries again when it ends, and fails with a traceback."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def open_standard_streams() -> None:
    """Opens those of standard input, output and error that the caller has closed (``>&-``), onto nothing.

    Python has None in their place, and the next file that is opened takes their number: what a library prints would go
    into that file.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (stays open)


class _Backlog(logging.Handler):
    """Keeps what is said before there is a file for it."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def setup_logging(
    output_dir: str | os.PathLike[str] | None = None,
    rank: int = 0,
    level: int = logging.INFO,
    *,
    backlog: bool = False,
    console: str = "stdout",
) -> logging.Logger:
    """Send the package's log to the console (rank 0 only) and to ``log.txt`` (other ranks: ``log.rank1.txt`` ...).

    Calling it again replaces the handlers of the call before, so messages never appear twice. Modules use
    ``logging.getLogger(__name__)``; nothing else is configured. Files are appended to.

    Args:
        output_dir: folder of the log files, created if missing; None: console only.
        level: lowest level that is written; 0 leaves the decision to the logger.
        backlog: keep what is said for the file that :func:`log_to_folder` opens later.
        console: "stdout", or "stderr" for a command whose answers are on standard output.

    Returns:
        the package's root logger.

    Raises:
        UnwritableError: the log file cannot be opened.
    """
    logger = logging.getLogger(ROOT)
    close_logging()
    logger.setLevel(level)
    if rank == 0:
        _attach(logger, _Console(console), "%(message)s" if level >= logging.INFO else _FORMAT)
    if output_dir is not None:
        log_to_folder(output_dir, rank)
    elif backlog:
        _attach(logger, _Backlog(), _FORMAT)
    return logger


def log_to_folder(output_dir: str | os.PathLike[str], rank: int = 0, prefix: str = "") -> None:
    """Append the package's log to a file from now on, beginning with what a backlog has kept.

    Raises:
        UnwritableError: the file cannot be opened.
    """
    logger = logging.getLogger(ROOT)
    name = "log.txt" if rank == 0 else f"log.rank{rank}.txt"
    file = _LogFile(Path(output_dir) / f"{prefix}{name}")
    _attach(logger, file, _FORMAT)
    for kept in [handler for handler in logger.handlers if isinstance(handler, _Backlog)]:
        logger.removeHandler(kept)
        for record in kept.records:
            file.handle(record)


def close_logging() -> None:
    """Remove and close the handlers of :func:`setup_logging`."""
    logger = logging.getLogger(ROOT)
    for handler in list(logger.handlers):
        if getattr(handler, _OURS, False):
            logger.removeHandler(handler)
            handler.close()


def _attach(logger: logging.Logger, handler: logging.Handler, layout: str) -> None:
    handler.setFormatter(logging.Formatter(layout, datefmt="%Y-%m-%d %H:%M:%S"))
    setattr(handler, _OURS, True)
    logger.addHandler(handler)
