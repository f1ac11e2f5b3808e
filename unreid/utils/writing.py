"""Writing files: whole or not at all, and one sentence where the system refuses.

Every file of the project is written through :func:`replacing` (a whole file), :class:`AppendFile` (lines, records) or
at least inside :func:`writing`.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import logging
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unreid.utils.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

try:
    import fcntl
except ModuleNotFoundError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]

_UNFINISHED = re.compile(r"\..+\.[0-9a-z_]{8}\.tmp")
_LONGEST = 60  # characters of a target's name that its unfinished neighbour repeats; names end at 255 bytes
_ABANDONED = 24 * 3600  # seconds without a change, where there are no locks to ask

_WAYS_OUT = {
    errno.ENOSPC: "free space on its disk, or write elsewhere",
    errno.EDQUOT: "free space within your quota, or write elsewhere",
    errno.EFBIG: "raise the limit (ulimit -f), or write to a disk that takes larger files",
    errno.EROFS: "make the disk writable, or write elsewhere",
    errno.EACCES: "ask for the right to write there, or write elsewhere",
    errno.EPERM: "ask for the right to write there, or write elsewhere",
    errno.EISDIR: "a folder stands where the file belongs, so move it away",
    errno.ENOTDIR: "a file stands where a folder belongs, so move it away, or write elsewhere",
    errno.EEXIST: "a file stands where a folder belongs, so move it away, or write elsewhere",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "mend the symbolic links, or write elsewhere",
    errno.ENOENT: "make its folder, or write elsewhere",
    errno.EMFILE: "raise the limit (ulimit -n), or lower DATALOADER.NUM_WORKERS",
    errno.ENFILE: "the machine has too many open files: close some programs",
    errno.EIO: "check the disk, or write elsewhere",
    errno.ESTALE: "mount its network disk anew, or write elsewhere",
}


class UnwritableError(UserError):
    """A file cannot be written; the message names it, the system's reason and the way out."""


def refusal(path: PathLike, error: OSError) -> str:
    """The sentence about a file that the system refuses to write."""
    way_out = _WAYS_OUT.get(error.errno or 0, "check the disk, or write elsewhere")
    return f"{os.fspath(path)} cannot be written: {error.strerror or error}; {way_out}."


@contextlib.contextmanager
def writing(path: PathLike) -> Iterator[None]:
    """The block writes ``path``: an error of the system becomes :class:`UnwritableError`, which names it."""
    try:
        yield
    except OSError as error:
        raise UnwritableError(refusal(path, error)) from error


@contextlib.contextmanager
def optional(consequence: str = "The run goes on without it.") -> Iterator[None]:
    """The block writes a file that one can do without: where it cannot be written, a warning says so."""
    try:
        yield
    except UnwritableError as error:
        logger.warning("%s %s", error, consequence)


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[io.FileIO]:
    """A binary file whose content takes the place of ``path`` when the block ends well; its folder is made if missing.

    The content goes into a hidden neighbour, is forced to the disk and renamed: at every moment, also after a crash,
    ``path`` is the old file or the new one. The neighbour is locked while its writer lives, see :func:`sweep`. A link
    stays, and leads to the new file.

    Raises:
        UnwritableError: the system refuses; the old file is as it was.
    """
    target = Path(os.path.realpath(path))
    with writing(path):
        if os.path.isdir(target):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if os.path.exists(target) and not os.path.isfile(target):  # renaming would put a file in the device's place
            raise UnwritableError(f"{os.fspath(path)} cannot be written: it is a device or a pipe; name a file.")
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent, target.name)
        unfinished, sink = _open_beside(target)
        try:
            with sink:
                try:
                    yield sink
                finally:
                    # Libraries that write in pieces turn these into errors of their own, or go on regardless.
                    if sink.failure is not None:
                        raise sink.failure
                os.fsync(sink.fileno())
            os.replace(unfinished, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(unfinished)
            raise
        _sync_folder(target.parent)


def atomic_write_text(path: PathLike, text: str) -> None:
    """Write UTF-8 text; readers see the old content or the new one, never a part.

    Raises:
        UnwritableError: the system refuses the file.
    """
    atomic_write_bytes(path, text.encode("utf-8"))


def atomic_write_bytes(path: PathLike, content: bytes) -> None:
    """The same for bytes."""
    with replacing(path) as file:
        file.write(content)


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as the text of a CSV file; names of files in it need not be text: encode it with "surrogateescape"."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def write_figure(path: PathLike, figure: Figure, dpi: int = 110) -> None:
    """A figure of matplotlib as a PNG file; raises :class:`UnwritableError`."""
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=dpi)


class _Sink(io.FileIO):
    """An unbuffered file that writes all or raises, and remembers what it raised first: an error of the system, or the
    interruption by a signal.
    """

    failure: BaseException | None = None

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest:
                rest = rest[os.write(self.fileno(), rest) :]
        except BaseException as error:
            self.failure = self.failure or error
            raise
        return size


def _open_beside(target: Path) -> tuple[Path, _Sink]:
    while True:
        path = target.with_name(f".{target.name[:_LONGEST]}.{secrets.token_hex(4)}.tmp")
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
        _lock(handle)
        if path.exists():  # a sweep may have come between
            return path, _Sink(handle, "wb")
        os.close(handle)


def sweep(folder: PathLike, name: str | None = None) -> int:
    """Removes what killed processes left unfinished in a folder; what a living process is writing stays.

    Args:
        folder: looked through, without its sub-folders; it may be missing.
        name: of the file whose remains are meant; None: all that :func:`replacing` may have left.

    Returns:
        files removed.
    """
    start = "." if name is None else f".{name[:_LONGEST]}."
    try:
        entries = [entry for entry in os.scandir(folder) if entry.name.startswith(start)]
    except OSError:
        return 0
    found = [entry for entry in entries if _UNFINISHED.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)]
    removed = sum(_remove_abandoned(entry.path) for entry in found)
    if removed:
        logger.info("%s: removed %d unfinished files of a killed process", os.fspath(folder), removed)
    return removed


def _remove_abandoned(path: str) -> bool:
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDWR)
        try:
            locked = _lock(handle)
            if locked or (locked is None and time.time() - os.fstat(handle).st_mtime > _ABANDONED):
                os.unlink(path)
                return True
        finally:
            os.close(handle)
    return False


def _lock(handle: int) -> bool | None:
    """Locks an open file, which its process's death undoes; False: another process holds it, None: no locks here."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems have none
        return None
    return True


class AppendFile:
    """A file that grows by whole pieces: one that does not fit leaves no part of itself.

    Raises:
        UnwritableError: the file cannot be opened.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
            self._handle: int | None = os.open(self.path, flags, 0o666)

    def write(self, piece: bytes) -> None:
        """Appends a piece; raises :class:`OSError` as the system does, so that the caller decides what it means."""
        if self._handle is None:
            raise ValueError(f"{self.path} is closed")
        size = os.fstat(self._handle).st_size
        rest = memoryview(piece)
        try:
            while rest:
                rest = rest[os.write(self._handle, rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, size)
            raise

    def close(self) -> None:
        """Lets go of the file."""
        handle, self._handle = self._handle, None
        if handle is not None:
            with contextlib.suppress(OSError):  # everything was written before
                os.close(handle)


def _sync_folder(folder: Path) -> None:
    """The rename itself must reach the disk; systems that cannot open or force folders have no need of it."""
    if os.name != "posix":
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
            raise
    finally:
        os.close(handle)
