"""The random state of a process as tensors and plain numbers, so that checkpoints load with ``weights_only=True``."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from unreid.utils.state import StateError, entries, require, require_tensor

_WORDS = 624
"""32-bit words of a Mersenne twister."""


def rng_state() -> dict[str, Any]:
    """State of torch (CPU, and CUDA where used), NumPy and Python."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()  # type: ignore[misc]
    version, words, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "numpy": [kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, gauss],
        "python": [version, list(words), gauss_next],
    }


def check_rng_state(state: Any) -> None:
    """Raises :class:`~unreid.utils.state.StateError` unless ``state`` is one that :func:`set_rng_state` can restore."""
    entries(state, "the random state", {"torch": torch.Tensor, "cuda": list, "numpy": list, "python": list})
    require_tensor(state["torch"], "the random state of torch", torch.uint8, tuple(torch.get_rng_state().shape))
    for cuda_state in state["cuda"]:
        require_tensor(cuda_state, "the random state of CUDA", torch.uint8, (None,))
    numpy, python = state["numpy"], state["python"]
    _require_parts(numpy, "NumPy", (str, torch.Tensor, int, int, (int, float)))
    require_tensor(numpy[1], "the random state of NumPy", torch.int64, (_WORDS,))
    if numpy[0] != "MT19937" or not 0 <= numpy[2] <= _WORDS or not _are_words(numpy[1].tolist()):
        raise StateError("the random state of NumPy is none")
    _require_parts(python, "Python", (int, list, (float, type(None))))
    if python[0] != 3 or len(python[1]) != _WORDS + 1 or not _are_words(python[1]) or python[1][-1] > _WORDS:
        raise StateError("the random state of Python is none")


def _require_parts(parts: list[Any], name: str, kinds: tuple[Any, ...]) -> None:
    if len(parts) != len(kinds):
        raise StateError(f"the random state of {name} has {len(parts)} parts and not {len(kinds)}")
    for part, kind in zip(parts, kinds):
        require(part, f"a part of the random state of {name}", kind)


def _are_words(values: list[Any]) -> bool:
    return all(type(value) is int and 0 <= value < 1 << 32 for value in values)


def set_rng_state(state: dict[str, Any]) -> None:
    """Restores :func:`rng_state`; CUDA states of devices that are not here are left out."""
    torch.set_rng_state(state["torch"].cpu())
    for index, cuda_state in enumerate(state["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(cuda_state.cpu(), index)
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, words, gauss_next = state["python"]
    random.setstate((version, tuple(words), gauss_next))
