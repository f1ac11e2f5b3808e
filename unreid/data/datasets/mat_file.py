"""Reads a matrix of numbers from a MATLAB 5 file.

SciPy's reader ends the process (a segmentation fault) on some damaged files and unpacks without limit; tables need
little of the format: a header, then elements of a type, a length and bytes, possibly compressed.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

MAX_UNPACKED = 1 << 28
"""Bytes that one variable may take."""

_HEADER, _MATRIX, _COMPRESSED = 128, 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_COMPLEX = 0x0800


def read_matrix(path: str | Path, variable: str) -> np.ndarray:
    """int64 array of a variable that holds whole numbers.

    Raises:
        KeyError: there is no such variable.
        ValueError: the file is no MATLAB 5 file, is damaged, or the variable holds something else.
        OSError: the file cannot be read.
    """
    content = Path(path).read_bytes()
    if len(content) < _HEADER or content[_HEADER - 2 : _HEADER] not in (b"IM", b"MI"):
        raise ValueError("it has no MATLAB 5 header")
    order = "<" if content[_HEADER - 2 : _HEADER] == b"IM" else ">"
    for kind, data in _elements(content[_HEADER:], order, padded=False):
        if kind == _COMPRESSED:
            kind, data = _unpacked(data, order)
        if kind == _MATRIX and (found := _named(data, order, variable)) is not None:
            return found
    raise KeyError(variable)


def _elements(content: bytes, order: str, *, padded: bool) -> Iterator[tuple[int, bytes]]:
    """(type, bytes) of the elements that follow one another; those inside a variable are padded to eight bytes."""
    at = 0
    while at + 8 <= len(content):
        kind, length = struct.unpack_from(f"{order}II", content, at)
        if kind >> 16:  # up to four bytes stand in the tag itself
            kind, length = kind & 0xFFFF, kind >> 16
            if length > 4:
                raise ValueError("a short element of more than four bytes")
            yield kind, content[at + 4 : at + 4 + length]
            at += 8
            continue
        if at + 8 + length > len(content):
            raise ValueError("it is cut off")
        yield kind, content[at + 8 : at + 8 + length]
        at += 8 + (length + 7) // 8 * 8 if padded else 8 + length


def _unpacked(data: bytes, order: str) -> tuple[int, bytes]:
    try:
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(data, MAX_UNPACKED + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(plain) > MAX_UNPACKED:
        raise ValueError(f"a variable unpacks to more than {MAX_UNPACKED} bytes")
    if not unpacker.eof:  # the checksum stands at the end
        raise ValueError("it is cut off")
    element = next(_elements(plain, order, padded=False), None)
    if element is None:
        raise ValueError("an empty variable")
    return element


def _named(data: bytes, order: str, variable: str) -> np.ndarray | None:
    """The numbers of a variable, or None if it has another name."""
    parts = list(_elements(data, order, padded=True))
    if len(parts) < 3:
        raise ValueError("a variable without name")
    (_, flags), (_, size), (_, name) = parts[:3]
    if name.decode("latin1") != variable:
        return None
    if len(parts) != 4 or parts[3][0] not in _NUMBERS or len(flags) != 8:
        raise ValueError(f"{variable} is no matrix of numbers")
    if struct.unpack(f"{order}II", flags)[0] & _COMPLEX or len(size) % 4:
        raise ValueError(f"{variable} is no matrix of whole numbers")
    shape = struct.unpack(f"{order}{len(size) // 4}i", size)
    values = np.frombuffer(parts[3][1], np.dtype(order + _NUMBERS[parts[3][0]]))
    if any(length < 0 for length in shape) or math.prod(shape) != len(values):
        raise ValueError(f"{variable} has the shape {shape} and {len(values)} values")
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        raise ValueError(f"{variable} holds numbers that are not whole, or too large")
    if len(values) and not -(2.0**62) < float(values.min()) <= float(values.max()) < 2.0**62:
        raise ValueError(f"{variable} holds numbers that are not whole, or too large")
    return values.astype(np.int64).reshape(shape, order="F")
