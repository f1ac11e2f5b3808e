"""Files that are either complete or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from unreid.utils.errors import UserError
from unreid.utils.torch_file import read_torch
from unreid.utils.writing import PathLike, atomic_write_bytes, atomic_write_text, replacing

__all__ = ["PathLike", "atomic_save", "atomic_write_bytes", "atomic_write_text", "load_checkpoint"]


def atomic_save(obj: Any, path: PathLike) -> None:
    """``torch.save`` that leaves the old file, or none, when it is interrupted.

    Raises:
        UnwritableError: the system refuses the file.
    """
    with replacing(path) as file:
        torch.save(obj, file)


def load_checkpoint(path: PathLike) -> dict[str, Any]:
    """Read a checkpoint of tensors, numbers, texts and containers, on the CPU; nothing in it is executed.

    Raises:
        UserError: the file is missing, cut off, damaged, no checkpoint, or holds objects of other types.
    """
    loaded = read_torch(Path(path))
    if not isinstance(loaded, dict):
        raise UserError(f"{path} holds a {type(loaded).__name__} where a checkpoint holds a dictionary.")
    return loaded
