"""Files that are either complete or not there."""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch

from unreid.utils.errors import UserError

PathLike = str | os.PathLike[str]

# Reading damaged bytes as a pickle can end in any of these.
_DAMAGED = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
)


def atomic_save(obj: Any, path: PathLike) -> None:
    """``torch.save`` that leaves the old file, or none, when it is interrupted."""
    _replace(Path(path), lambda file: torch.save(obj, file))


def atomic_write_text(path: PathLike, text: str) -> None:
    """Write UTF-8 text; readers see the old content or the new one, never a part."""
    _replace(Path(path), lambda file: file.write(text.encode("utf-8")))


def load_checkpoint(path: PathLike, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint of tensors, numbers, texts and containers; nothing in it is executed.

    Raises:
        UserError: the file is missing, cut off, no checkpoint, or holds objects of other types.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f"There is no checkpoint {file}.")
    try:
        file.open("rb").close()
    except OSError as error:
        raise UserError(f"The checkpoint {file} cannot be read: {error}.") from error
    try:
        loaded = torch.load(file, map_location=map_location, weights_only=True)
    except _DAMAGED as error:
        if isinstance(error, pickle.UnpicklingError) and "unsupported global" in str(error).lower():
            raise UserError(
                f"{file} holds Python objects besides tensors and plain values and is not loaded, because that would "
                "execute code of its author; re-save its state_dict alone."
            ) from error
        raise UserError(f"{file} is not a checkpoint, or it is cut off or damaged.") from error
    if not isinstance(loaded, dict):
        raise UserError(f"{file} holds a {type(loaded).__name__} where a checkpoint holds a dictionary.")
    return loaded


def _replace(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write beside the target, force it to the disk, then rename over the target."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(path.parent)


def _umask() -> int:
    """The process's file mode mask (reading it means setting it); mkstemp ignores it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """The rename itself must reach the disk; systems that cannot open folders have no need of it."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
