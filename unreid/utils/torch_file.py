"""Reads what ``torch.save`` wrote: nothing is run, nothing damaged taken, and no more memory used than its size needs.

``torch.load(weights_only=True)`` runs no code, but it believes what a file says of itself: it does not compare the
checksums of the archive, and storages and sizes that do not exist are read or allocated. That is looked at here first.
"""

from __future__ import annotations

import argparse
import io
import os
import pickle
import re
import warnings
import zipfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from unreid.utils.errors import UserError
from unreid.utils.pickle_scan import DamagedError, GrowthError, Shape, scan

ZIP = b"PK\x03\x04"
POINTER = b"version https://git-lfs.github.com/spec/"  # first line of what a clone without LFS holds instead of a file
SLACK = 1 << 26
"""Bytes that a small file may claim beyond its size (expanded tensors)."""

_LEGACY_PICKLES = 5  # magic number, protocol, system, content, keys of the storages that follow
_ITEM_SIZES = {"Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1}
_ITEM_SIZES |= {"Bool": 1, "Untyped": 1, "ComplexDouble": 16, "ComplexFloat": 8}
_CONTAINERS = {"collections OrderedDict", "collections Counter", "__builtin__ set", "builtins set", "torch Size"}
_OBJECTS = {"argparse Namespace", "numpy dtype"}
_SCALARS = {"numpy.core.multiarray scalar", "numpy._core.multiarray scalar"}
_REST = {"_codecs encode", "torch device", "torch._utils _rebuild_parameter", "torch.nn.parameter Parameter"}
_TENSORS = {"torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3"}  # v3: with a dtype of its own
_NAMES = _CONTAINERS | _OBJECTS | _SCALARS | _REST | _TENSORS
_NUMBERS = re.compile(r"[<>=|]?[?biufc]\d{1,2}")


class RefusedError(Exception):
    """What the file needs and does not get."""


def read_torch(path: str | Path, *, kind: str = "checkpoint", trust: bool = False) -> Any:
    """The content of a file of ``torch.save``, on the CPU.

    Args:
        path: .pth, .pt or .pth.tar.
        kind: what messages call it.
        trust: unpickle without limits. A prepared file can then run any code: only for files of one's own.

    Raises:
        UserError: there is no such file, it is damaged (checksums included), holds more than tensors and plain values,
            or would take far more memory than it has bytes.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise UserError(f"There is no {kind} {path}.")
    try:
        with path.open("rb") as file:
            return read_torch_stream(file, path.stat().st_size, trust=trust)
    except GrowthError as error:
        raise UserError(f"{path} was refused: {error}; no {kind} needs that.") from None
    except RefusedError as error:
        raise UserError(
            f"{path} was refused because it holds Python objects besides tensors and plain values ({error}), and "
            "unpickling those can run code of its author: re-save its state_dict alone or, if you trust its origin, "
            "convert it once with unreid convert --trust."
        ) from None
    except DamagedError as error:
        raise UserError(f"{path} is not a {kind}, or it is cut off or damaged ({error}).") from None
    except OSError as error:
        raise UserError(f"The {kind} {path} cannot be read: {error.strerror or error}.") from None


def read_torch_stream(file: IO[bytes], size: int, *, trust: bool = False) -> Any:
    """As :func:`read_torch`, for an open file of ``size`` bytes; raises what that function turns into sentences."""
    start = file.read(len(POINTER))
    file.seek(0)
    if start == POINTER:
        raise DamagedError("it is a git-lfs pointer: fetch the file with 'git lfs pull'")
    if start.startswith(ZIP):
        _check_archive(file, size, trust)
    elif not trust:
        for _ in range(_LEGACY_PICKLES):
            scan(file, _Rules(size))
    file.seek(0)
    return _load(file, trust)


def _load(file: IO[bytes], trust: bool) -> Any:
    try:
        with _harmless_globals(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found:
            raise RefusedError(f"it needs {found[1]}") from None
        raise DamagedError(_line(error)) from None
    except Exception as error:  # damaged bytes can end in any exception of the unpickler and of the archive reader
        if trust and not isinstance(error, (RuntimeError, OSError, ValueError, LookupError, EOFError)):
            raise  # the code that a trusted file brings may fail in its own way
        raise DamagedError(_line(error)) from None


def _check_archive(file: IO[bytes], size: int, trust: bool) -> None:
    """Sizes, checksums and the pickle of a zip archive."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > size:  # torch.save does not compress
                raise GrowthError("it is an archive that unpacks to more than it holds")
            checked = any(entry.CRC for entry in entries)  # torch can be told to leave them out: then all are 0
            for entry in entries:
                if checked:
                    _read_through(archive, entry)
                else:
                    del entry.CRC  # zipfile compares one that is there
            pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise DamagedError("it has no data.pkl")
            folder = pickles[0].filename.removesuffix("data.pkl") + "data/"
            sizes = {entry.filename.removeprefix(folder): entry.file_size for entry in entries}
            if not trust:
                scan(io.BytesIO(archive.read(pickles[0])), _Rules(size, sizes))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, LookupError) as error:
        raise DamagedError(_line(error)) from None
    except OSError as error:  # an offset before the file's start
        raise DamagedError(error.strerror or str(error)) from None


def _read_through(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Reading to the end compares the checksum."""
    with archive.open(entry) as content:
        while content.read(1 << 20):
            pass


class _Rules:
    """What the pickle of a torch file may call, and how large its storages and tensors may say they are.

    Args:
        size: bytes of the file.
        sizes: bytes of the storages in its archive, by key; None where they follow the pickle.
    """

    def __init__(self, size: int, sizes: dict[str, int] | None = None) -> None:
        self.size = size
        self.sizes = sizes
        self.claimed = 0

    def __call__(self, opcode: str, shape: Shape) -> None:
        name, values = shape.made_by, shape.values
        if opcode == "GLOBAL":
            if name not in _NAMES and not name.startswith(
                ("torch ", "torch.storage ")
            ):  # types of numbers and storages
                raise RefusedError(f"it needs {name.replace(' ', '.')}")
        elif opcode == "BINPERSID":
            self._storage(values)
        elif opcode == "BUILD":
            if name not in _CONTAINERS | _OBJECTS:
                raise RefusedError(f"it sets the state of {name.replace(' ', '.') or 'a container'}")
        elif name in _TENSORS:
            self._tensor(values)
        elif name == "numpy dtype":
            if not values or not _NUMBERS.fullmatch(str(values[0])):
                raise RefusedError("it needs numpy values that are no numbers")
        elif name == "_codecs encode":
            if len(values) != 2 or values[1] != "latin1":
                raise RefusedError("it needs _codecs.encode with another encoding than latin1")
        elif name not in _NAMES:
            raise RefusedError(f"it needs {name.replace(' ', '.')}")

    def _storage(self, values: list[Any]) -> None:
        _, bytes_ = _described(values)
        if self.sizes is None:
            there = self.size
        elif values[2] not in self.sizes:
            raise DamagedError(f"it has no storage {values[2]!r}")
        else:
            there = self.sizes[values[2]]
        if bytes_ > there:
            raise DamagedError(f"a storage of {bytes_} bytes where {there} are there")

    def _tensor(self, values: list[Any]) -> None:
        if len(values) < 4 or not all(isinstance(value, Shape) for value in (values[0], values[2], values[3])):
            raise DamagedError("a tensor without storage, size or stride")
        storage, offset = values[0], values[1]
        item, bytes_ = _described(storage.values if storage.made_by == "persistent" else [])
        dtype = getattr(torch, str(values[6]).removeprefix("torch "), None) if len(values) > 6 else None
        item = dtype.itemsize if isinstance(dtype, torch.dtype) else item
        claimed = check_bounds(values[2].values, values[3].values, offset, bytes_ // item)
        self.claimed += claimed * item
        if self.claimed > 2 * self.size + SLACK:
            raise GrowthError("it has tensors that show the same few bytes over and over")


def check_bounds(size: list[Any], stride: list[Any], offset: Any, available: int) -> int:
    """Elements of a tensor; :class:`DamagedError` unless they all lie within a storage of ``available`` elements."""
    numbers = [offset, *size, *stride]
    if len(size) != len(stride) or not all(type(number) is int and 0 <= number < 1 << 62 for number in numbers):
        raise DamagedError(f"a tensor of size {size}")
    if 0 in size:
        return 0
    last, count = offset, 1
    for length, step in zip(size, stride):
        last += (length - 1) * step
        count *= length
    if last >= available:
        raise DamagedError(f"a tensor of size {size} in a storage of {available} values")
    return count


def _described(values: list[Any]) -> tuple[int, int]:
    """Bytes of an element and of the whole of a storage, from its persistent id."""
    if len(values) < 5 or values[0] != "storage" or not isinstance(values[1], str) or type(values[4]) is not int:
        raise DamagedError("a storage that is not described")
    module, _, name = values[1].rpartition(" ")
    item = _ITEM_SIZES.get(name.removesuffix("Storage"))
    if item is None or module not in ("torch", "torch.storage") or not 0 <= values[4] < 1 << 60:
        raise RefusedError(f"it needs a storage {name} of {values[4]} values")
    return item, item * values[4]


def _harmless_globals() -> AbstractContextManager[Any]:
    """Lets ``torch.load(weights_only=True)`` read NumPy scalars and parsed command lines besides tensors.

    Cluster Contrast, ISE and AuxUSL store their best mAP as a NumPy scalar, DINO its ``argparse`` namespace. None of
    the types listed here runs anything when it is loaded.
    """
    reconstruct = np.float64(0).__reduce__()[0]
    allowed: list[Any] = [np.dtype, argparse.Namespace]
    allowed += [type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")]
    for name in ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"):  # before and since NumPy 2
        allowed.append((reconstruct, name))
    return torch.serialization.safe_globals(allowed)


def _line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
