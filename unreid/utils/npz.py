"""Reads ``.npz`` archives of plain arrays: no objects, no more memory than the file can justify."""

from __future__ import annotations

import io
import math
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from unreid.utils.errors import UserError
from unreid.utils.writing import replacing

SLACK = 1 << 26
"""Bytes that a small archive may unpack to."""
GROWTH = 100
"""A larger one may unpack to so many times its size; what is stored here (keys, labels, links) stays far below."""


class ArraysError(Exception):
    """The file is no archive of plain arrays; the message says why."""


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of an ``.npz`` file by name.

    Raises:
        ArraysError: the file is no archive or damaged (checksums included), holds objects, or unpacks to too much.
        UserError: it cannot be opened.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise UserError(f"There is no file {path}.")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            allowed = SLACK + GROWTH * path.stat().st_size
            if sum(entry.file_size for entry in entries) > allowed:
                raise ArraysError(f"it unpacks to more than {allowed} bytes, which no such file needs")
            return {entry.filename.removesuffix(".npy"): _array(archive.read(entry)) for entry in entries}
    except OSError as error:
        raise ArraysError(error.strerror or str(error)) from None
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, LookupError, RuntimeError, SyntaxError) as error:
        raise ArraysError(str(error).splitlines()[0][:200] if str(error) else type(error).__name__) from None
    except (TypeError, OverflowError, MemoryError) as error:
        raise ArraysError(f"an array that contradicts itself ({error})") from None


def write_arrays(path: str | Path, *, compressed: bool = False, **arrays: Any) -> None:
    """Writes an ``.npz``, whole or not at all; raises :class:`~unreid.utils.writing.UnwritableError`."""
    with replacing(path) as file:
        (np.savez_compressed if compressed else np.savez)(file, **arrays)


def _array(content: bytes) -> np.ndarray:
    """One ``.npy``; its header is compared with its length, because NumPy allocates what the header says."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array of format {version}")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded: they are pickles")
    if any(length < 0 for length in shape) or math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"an array of shape {shape} in {len(content) - file.tell()} bytes")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)
