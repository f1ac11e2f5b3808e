"""Checks of a stored state: which entries it has, of which types; every refusal is one clause."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from unreid.utils.errors import UserError

Kind = type | tuple[type, ...]

_WORDS = {"NoneType": "None", "Tensor": "tensor"}


class StateError(UserError, ValueError):
    """A state does not have the entries that it should have; the message is a clause for a longer sentence."""


def entries(
    state: Any, what: str, needed: Mapping[str, Kind], optional: Mapping[str, Kind] | None = None
) -> dict[str, Any]:
    """``state`` itself, if it holds exactly the entries that it should hold.

    Args:
        what: its name in messages, such as "the state of the clusterer".
        needed, optional: entry -> its type or types. ``int`` does not take a bool, ``float`` takes an int.

    Raises:
        StateError: it is no dict, lacks a needed entry, has an unknown one, or one of another type, or a number that is
            not finite, or an integer beyond 64 bits.
    """
    if not isinstance(state, dict):
        raise StateError(f"{what} is a {_name(type(state))} where a dict is expected")
    known = {**needed, **(optional or {})}
    missing = next((key for key in needed if key not in state), None)
    if missing is not None:
        raise StateError(f"{what} lacks {missing!r}")
    unknown = next((key for key in state if key not in known), None)
    if unknown is not None:
        raise StateError(f"{what} has the unknown entry {unknown!r}")
    for key, value in state.items():
        require(value, f"{key!r} of {what}", known[key])
    return state


def require(value: Any, what: str, kind: Kind) -> None:
    """Raises :class:`StateError` unless ``value`` is of the type(s), with the refinements of :func:`entries`."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if object in kinds:
        return
    if isinstance(value, bool):
        good = bool in kinds
    elif isinstance(value, int):
        good = int in kinds or float in kinds
        if good and not -(1 << 63) <= value < 1 << 63:
            raise StateError(f"{what} is an integer beyond 64 bits")
    else:
        good = isinstance(value, kinds)
    if not good:
        expected = " or ".join(_name(item) for item in kinds)
        raise StateError(f"{what} is a {_name(type(value))} where {expected} is expected")
    if isinstance(value, float) and not math.isfinite(value):
        raise StateError(f"{what} is {value}")


def require_tensor(
    value: Any, what: str, dtype: torch.dtype | None = None, shape: tuple[int | None, ...] | None = None
) -> None:
    """Raises :class:`StateError` unless ``value`` is a tensor of this type and shape (None: any length)."""
    require(value, what, Tensor)
    if dtype is not None and value.dtype != dtype:
        raise StateError(f"{what} is of type {value.dtype} where {dtype} is expected")
    if shape is not None and (
        value.ndim != len(shape)
        or any(length is not None and length != found for length, found in zip(shape, value.shape))
    ):
        expected = ", ".join("any" if length is None else str(length) for length in shape)
        raise StateError(f"{what} has the shape {tuple(value.shape)} where ({expected}) is expected")


def require_labels(value: Any, what: str, count: int | None = None) -> None:
    """Raises :class:`StateError` unless ``value`` is None or int64 (count,) with values from -1 to below its length."""
    if value is None:
        return
    require_tensor(value, what, torch.int64, (count,))
    if len(value) and not -1 <= int(value.min()) <= int(value.max()) < len(value):
        raise StateError(f"{what} holds labels beyond -1 ... {len(value) - 1}")


def require_like(state: Any, model: Any, what: str, *, growing: bool = False) -> None:
    """Compares a stored state with that of the object it is for, at any depth.

    Plain values are compared by type only, and where ``model`` has None, or an empty dict or list, anything goes: the
    object that takes it over knows better.

    Args:
        model: the state of a freshly built object of this run.
        growing: the first axis of a tensor may have another length, as that of a memory has in every round.

    Raises:
        StateError: an entry is missing, unknown, or of another type, dtype or shape.
    """
    if model is None or (isinstance(model, (dict, list, tuple)) and not model):
        return
    if isinstance(model, Tensor):
        shape = tuple(model.shape)
        require_tensor(state, what, model.dtype, (None, *shape[1:]) if growing and shape else shape)
    elif isinstance(model, dict):
        entries(state, what, dict.fromkeys(model, object))
        for key, value in model.items():
            require_like(state[key], value, f"{key!r} of {what}", growing=growing)
    else:
        require(state, what, (int, float) if isinstance(model, float) and not isinstance(model, bool) else type(model))


def floating_tensors(state: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every floating-point tensor of nested dictionaries and lists, with its place in them."""
    if isinstance(state, Tensor):
        if state.is_floating_point():
            yield name, state
        return
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, (list, tuple)) else ()
    for key, part in items:
        yield from floating_tensors(part, f"{name}.{key}" if name else str(key))


def _name(kind: type) -> str:
    return _WORDS.get(kind.__name__, kind.__name__)
