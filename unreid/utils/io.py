"""Files that are either complete or not there."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch

from unreid.utils.errors import UserError
from unreid.utils.writing import PathLike, atomic_write_bytes, atomic_write_text, replacing

__all__ = ["PathLike", "atomic_save", "atomic_write_bytes", "atomic_write_text", "load_checkpoint"]

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
    """``torch.save`` that leaves the old file, or none, when it is interrupted.

    Raises:
        UnwritableError: the system refuses the file.
    """
    with replacing(path) as file:
        torch.save(obj, file)


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
