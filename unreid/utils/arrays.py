"""Arrays from users: numpy arrays, torch tensors and lists become tensors, or one sentence says what was expected.

Every public function of the rooms above takes its arrays through this file. Two kinds of questions are kept apart:
shape and type are read without a look at the values, which a GPU would have to be waited for; :func:`as_features`, for
whole data sets, looks at the values too.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from unreid.utils.errors import InputError

ArrayLike: TypeAlias = Any
"""A torch tensor, a numpy array, or lists of numbers (or of tensors)."""


def as_features(x: ArrayLike, name: str = "features", *, width: int | None = None) -> Tensor:
    """float32 (N, D) on the device of ``x``, without gradient, N and D at least 1, all values finite.

    Raises:
        InputError: anything else.
    """
    rows = as_rows(x, name, width).detach().float().contiguous()
    if 0 in rows.shape:
        raise InputError(f"{name} must be numbers of shape (N, D) with N and D at least 1, not {_shown(rows)}.")
    if not all(bool(part.isfinite().all()) for part in rows.split(2**16)):
        raise InputError(f"{name} must be finite, but NaN or infinite values are among them: a model that diverged?")
    return rows


def as_rows(x: ArrayLike, name: str = "features", width: int | None = None) -> Tensor:
    """Floating-point (N, D); a tensor of floats comes back as it is, with its gradient, precision and device.

    Raises:
        InputError: another number of dimensions, no numbers, or (with ``width``) another D.
    """
    wanted = f"{name} must be numbers of shape (N, {'D' if width is None else width})"
    rows = _numbers(x, wanted)
    if rows.ndim != 2 or width not in (None, rows.shape[1]):
        raise InputError(f"{wanted}, not {_shown(rows)}.")
    return rows if rows.is_floating_point() else rows.float()


def as_integers(x: ArrayLike, name: str = "labels", length: int | None = None) -> Tensor:
    """int64 (N,), for labels, targets, cameras and positions; a tensor stays on its device.

    Raises:
        InputError: another number of dimensions, no integers, or (with ``length``) another N.
    """
    values, wanted = _row(x, f"{name} must be integers", length)
    whole = not values.is_floating_point() or bool(((values == values.round()) & values.isfinite()).all())
    if not whole:  # 1.0 is as good as 1
        raise InputError(f"{wanted}, not fractions, NaN or infinite ({_shown(values)}).")
    return values.long()


def as_vector(x: ArrayLike, name: str, length: int | None = None) -> Tensor:
    """Floating-point (N,), for weights and values; a tensor of floats comes back as it is, with its gradient.

    Raises:
        InputError: another number of dimensions, no numbers, or (with ``length``) another N.
    """
    values, _ = _row(x, f"{name} must be numbers", length)
    return values if values.is_floating_point() else values.float()


def as_batch(features: ArrayLike, targets: ArrayLike, name: str = "features") -> tuple[Tensor, Tensor]:
    """Rows (B, D) as :func:`as_rows`, and one integer for each of them, int64 (B,), on their device."""
    rows = as_rows(features, name)
    return rows, as_integers(targets, "targets", len(rows)).to(rows.device)


def as_codes(first: ArrayLike, second: ArrayLike, name: str = "ids") -> tuple[Tensor, Tensor]:
    """Ids of two lists, integers or strings, as int64 numbers that are equal where the ids are.

    Integers stay what they are.

    Raises:
        InputError: neither integers nor strings, or one list of each.
    """
    one, other = _strings(first), _strings(second)
    if one is None and other is None:
        return as_integers(first, name), as_integers(second, name)
    if one is None or other is None:
        raise InputError(f"{name} must be all integers or all strings, of shape (N,), not one list of each.")
    codes = np.unique(np.concatenate((one, other)), return_inverse=True)[1].reshape(-1)
    return torch.from_numpy(codes[: len(one)]), torch.from_numpy(codes[len(one) :])


def as_ids(x: ArrayLike, name: str, length: int | None = None) -> Tensor:
    """Ids of one list as :func:`as_codes` gives them, int64 (N,).

    Raises:
        InputError: neither integers nor strings (N,), or (with ``length``) another N.
    """
    values = as_codes(x, x, name)[0]
    if length not in (None, len(values)):
        raise InputError(f"{name} must be integers or strings of shape ({length},), not ({len(values)},).")
    return values


def at_least_float32(x: Tensor) -> Tensor:
    """The tensor in float32 where it is of half precision, else as it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def spread(items: np.ndarray, count: int) -> np.ndarray:
    """``count`` of the items (or all), evenly spread, the first included."""
    count = min(count, len(items))
    return items[np.arange(count) * len(items) // max(count, 1)]


def _row(x: ArrayLike, wanted: str, length: int | None) -> tuple[Tensor, str]:
    """One-dimensional numbers, and the sentence that asks for them."""
    wanted = f"{wanted} of shape ({'N' if length is None else length},)"
    values = _numbers(x, wanted)
    if values.ndim != 1 or length not in (None, len(values)):
        raise InputError(f"{wanted}, not {_shown(values)}.")
    return values, wanted


def _strings(x: ArrayLike) -> np.ndarray | None:
    """The array if it is one of strings, (N,)."""
    items = x.tolist() if isinstance(x, np.ndarray) and x.dtype.kind in "UO" else x
    if not isinstance(items, list | tuple):
        return None
    return np.array(items, dtype=str) if items and all(isinstance(item, str) for item in items) else None


def _numbers(x: ArrayLike, wanted: str) -> Tensor:
    """A dense tensor of real numbers."""
    if isinstance(x, Tensor):
        if x.layout != torch.strided:
            raise InputError(f"{wanted}, not a sparse tensor: call its to_dense().")
        if x.is_complex() or x.dtype == torch.bool:
            raise InputError(f"{wanted}, not {_shown(x)}.")
        return x
    if hasattr(x, "tocoo"):
        raise InputError(f"{wanted}, not a sparse {type(x).__name__}: call its toarray().")
    if isinstance(x, list | tuple) and x and all(isinstance(item, Tensor) for item in x):
        if len({item.shape for item in x}) > 1:
            raise InputError(f"{wanted}, not a {type(x).__name__} of tensors of several shapes.")
        return _numbers(torch.stack(tuple(x)), wanted)
    try:
        array = np.asarray(x)
    except ValueError:
        raise InputError(f"{wanted}, not a {type(x).__name__} of rows of several lengths.") from None
    if array.dtype.kind not in "iuf":
        raise InputError(f"{wanted}, not {type(x).__name__} {array.dtype} {array.shape}.")
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise InputError(f"{wanted}, not numbers beyond 2**63 (uint64 {array.shape}).")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)  # torch does little with wide unsigned integers
    if array.dtype == np.longdouble or not array.dtype.isnative:
        array = array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
    if isinstance(x, list | tuple) and array.dtype == np.float64:
        with np.errstate(over="ignore"):  # what becomes infinite is refused where it matters
            array = array.astype(np.float32)  # numbers of a list have no precision of their own
    return torch.from_numpy(array if array.flags.writeable and min(array.strides, default=0) >= 0 else array.copy())


def _shown(values: Tensor) -> str:
    return f"{str(values.dtype).removeprefix('torch.')} {tuple(values.shape)}"
