"""AuxUSLReID's relation pickles, read without running anything in them.

Admitted are plain containers, numbers, numpy arrays of numbers and torch tensors. A pickle works by naming functions
to call; every name outside a short list is refused before anything is called, and behind the listed names stand
functions of this file.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unreid.constraints.links import Links
from unreid.constraints.relation_file import refuse_pointer
from unreid.utils.errors import UserError
from unreid.utils.pickle_scan import DamagedError, GrowthError, Shape, scan
from unreid.utils.torch_file import SLACK, ZIP, RefusedError, check_bounds, read_torch_stream

_CONTAINERS = ("builtins ", "__builtin__ ", "collections ")
_NDARRAY = "numpy.ndarray"  # stands for the class, which is never needed
_DAMAGED = (
    pickle.UnpicklingError,
    EOFError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
    OverflowError,
    MemoryError,
)


class _Refused(Exception):
    """Made with the name of what a pickle wants to call."""

    def __str__(self) -> str:
        return f"it asks for {self.args[0]}, which is no plain container, numpy array or torch tensor"


def read_legacy(path: str | Path) -> Any:
    """The content of a pickle, or of a file of ``torch.save``.

    Returns:
        Containers of numbers; arrays and tensors as numpy arrays.

    Raises:
        UserError: the file is missing, a git-lfs pointer or damaged, or asks for more than the admitted types.
    """
    path = Path(path)
    refuse_pointer(path)
    try:
        content = path.read_bytes()
        if content.startswith(ZIP):
            return _plain(read_torch_stream(io.BytesIO(content), len(content)))
        scan(io.BytesIO(content), _check_call)
        return _plain(_Reader(io.BytesIO(content)).load())
    except (_Refused, RefusedError, GrowthError) as error:
        reason = f"it holds more than tensors ({error})" if isinstance(error, RefusedError) else error
        raise UserError(
            f"{path} was refused and nothing in it was run: {reason}. Mine the relation with unreid mine instead, or "
            "get a clean file."
        ) from None
    except (DamagedError, *_DAMAGED) as error:
        raise UserError(f"{path} is not a pickle of relations, or it is damaged ({error}).") from None


def links_from(content: Any, shape: tuple[int, int]) -> Links:
    """Cannot-links from a dict or list that holds, per row, the positions a row is linked with.

    Raises:
        ValueError: the content is something else, or names positions outside ``shape``.
    """
    if isinstance(content, dict):
        rows: Iterable[tuple[Any, Any]] = content.items()
    elif isinstance(content, (list, tuple)) and len(content) == shape[0]:
        rows = enumerate(content)
    else:
        size = f" of {len(content)}" if isinstance(content, (list, tuple)) else ""
        raise ValueError(f"a {type(content).__name__}{size} where {shape[0]} sets of positions are expected")
    owners: list[np.ndarray] = []
    members: list[np.ndarray] = []
    for row, linked in rows:
        columns = np.array(sorted(linked), dtype=np.int64)
        if not 0 <= int(row) < shape[0] or (len(columns) and not 0 <= columns[0] <= columns[-1] < shape[1]):
            raise ValueError(f"row {row} is linked with positions outside {shape[0]} x {shape[1]}")
        owners.append(np.full(len(columns), int(row), dtype=np.int64))
        members.append(columns)
    none = np.empty(0, dtype=np.int64)
    return Links.from_pairs(np.concatenate([none, *owners]), np.concatenate([none, *members]), shape)


def matrix_from(content: Any, shape: tuple[int, int]) -> np.ndarray:
    """float32 (rows, columns) from an array.

    Raises:
        ValueError: the content is something else, has another shape, or holds values that are no numbers.
    """
    if not isinstance(content, np.ndarray):
        raise ValueError(f"a {type(content).__name__} where a matrix is expected")
    if content.shape != shape:
        raise ValueError(f"a matrix of shape {content.shape} where {shape} is expected")
    matrix = np.array(content, dtype=np.float32)  # a copy: what comes out of a pickle is not writable
    if not np.isfinite(matrix).all():
        raise ValueError("a matrix with values that are not finite")
    return matrix


def _check_call(opcode: str, call: Shape) -> None:
    """A state belongs to the wrappers of arrays and types; containers and functions have none."""
    if opcode == "BUILD" and not call.made_by.startswith("numpy"):
        raise _Refused("an object with a state of its own")
    if opcode not in ("BUILD", "GLOBAL") and call.made_by.startswith(_CONTAINERS):
        given = [value.made_by for value in call.values if isinstance(value, Shape) and value.made_by]
        if not all(maker.startswith(_CONTAINERS) for maker in given):
            raise _Refused("a container made of an array")


class _Array:
    """An array on its way out of a pickle: made empty, then told its content."""

    def __init__(self) -> None:
        self.value = np.empty(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        self.value = _filled(content, dtype, shape, "F" if fortran else "C")


class _DType:
    """A dtype of numbers, by name and byte order."""

    def __init__(self, name: Any) -> None:
        if not re.fullmatch(r"[<>=|]?[?bBiuf]\d*", str(name)):
            raise _Refused(f"numpy arrays of type {name!r}")
        self.value = np.dtype(str(name))

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order in ("<", ">"):
            self.value = self.value.newbyteorder(order)


class _Reader(pickle.Unpickler):
    """Finds the admitted names only."""

    def find_class(self, module: str, name: str) -> Any:
        for admitted, methods in self._admitted().items():
            if module == admitted and name in methods:
                return methods[name]
        raise _Refused(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("a storage outside the file")

    def _admitted(self) -> dict[str, dict[str, Any]]:
        containers: dict[str, Any] = {kind.__name__: kind for kind in (set, frozenset, dict, list, tuple)}
        multiarray: dict[str, Callable[..., Any]] = {"_reconstruct": self._reconstruct, "scalar": self._scalar}
        numeric: dict[str, Callable[..., Any]] = {"_frombuffer": self._frombuffer}
        return {
            "builtins": containers,
            "__builtin__": containers,
            "collections": {"OrderedDict": dict, "defaultdict": lambda factory=None: {}},
            "numpy": {"ndarray": _NDARRAY, "dtype": lambda name, *rest: _DType(name)},
            "numpy.core.multiarray": multiarray,
            "numpy._core.multiarray": multiarray,
            "numpy.core.numeric": numeric,
            "numpy._core.numeric": numeric,
            "_codecs": {"encode": self._encode},
            "torch._utils": {"_rebuild_tensor_v2": self._tensor},
            "torch.storage": {"_load_from_bytes": self._storage},
        }

    def _encode(self, text: str, encoding: str) -> bytes:
        """How protocol 2 writes bytes."""
        if encoding != "latin1":
            raise _Refused(f"the encoding {encoding!r}")
        return text.encode("latin1")

    def _reconstruct(self, kind: Any, shape: Any, typecode: Any) -> _Array:
        return _Array()

    def _scalar(self, dtype: _DType, content: bytes) -> Any:
        return _filled(content, dtype, (1,), "C")[0].item()

    def _frombuffer(self, content: Any, dtype: _DType, shape: Any, order: Any) -> np.ndarray:
        return _filled(content, dtype, shape, order)

    def _storage(self, content: bytes) -> Any:
        """torch's own function for it would unpickle without restriction."""
        try:
            return read_torch_stream(io.BytesIO(content), len(content))
        except RefusedError as refused:
            raise _Refused(f"a storage that is no storage: {refused}") from None

    def _tensor(self, storage: Any, offset: int, size: Any, stride: Any, *rest: Any) -> np.ndarray:
        if not isinstance(storage, torch.storage.TypedStorage):
            raise _Refused("a tensor without storage")
        available = storage._untyped_storage.nbytes() // storage.dtype.itemsize
        if check_bounds(list(size), list(stride), offset, available) > 2 * available + SLACK:
            raise GrowthError("it has a tensor that shows the same few bytes over and over")
        empty = torch.empty(0, dtype=storage.dtype)
        return empty.set_(storage._untyped_storage, int(offset), tuple(size), tuple(stride)).numpy()


def _filled(content: Any, dtype: _DType, shape: Any, order: str) -> np.ndarray:
    if not isinstance(dtype, _DType):
        raise _Refused("numpy arrays without a type")
    return np.frombuffer(content, dtype=dtype.value).reshape(tuple(shape), order="F" if order == "F" else "C")


def _plain(thing: Any) -> Any:
    """Wrappers and tensors replaced by arrays, at any depth of the containers."""
    if isinstance(thing, _Array):
        return thing.value
    if isinstance(thing, torch.Tensor):
        return thing.detach().numpy()
    if isinstance(thing, dict):
        return {key: _plain(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return type(thing)(_plain(value) for value in thing)
    return thing
