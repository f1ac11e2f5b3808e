"""The weights of the recorded networks: a hash of the position of every number, equal on all platforms.

The recipe is written down in the manifest of ``common`` under ``recipe_weights``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def uniform(shape: Sequence[int], j: int, seed: int) -> np.ndarray:
    """float64 array of numbers in [0, 1): splitmix64 of the flat index, the tensor's number ``j`` and the seed."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    start = ((j + 1) * 2**32 + seed * int(golden) + int(golden)) % 2**64
    with np.errstate(over="ignore"):
        h = np.arange(math.prod(shape), dtype=np.uint64) + np.uint64(start)
        h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        h ^= h >> np.uint64(31)
    return ((h >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(tuple(shape))


def formula_state(keys: Sequence[tuple[str, Sequence[int], str]], seed: int) -> dict[str, Tensor]:
    """The state dict of a recorded network from its list of (name, shape, dtype)."""
    return {name: _formula_tensor(name, shape, j, seed) for j, (name, shape, _) in enumerate(keys)}


def formula_input(shape: Sequence[int], seed: int) -> Tensor:
    """float32 network input."""
    return torch.from_numpy(2.0 * (2.0 * uniform(shape, 0, seed) - 1.0)).float()


def _formula_tensor(name: str, shape: Sequence[int], j: int, seed: int) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(7, dtype=torch.int64)
    if name.endswith("gap.p"):
        return torch.full(tuple(shape), 3.0)
    u = uniform(shape, j, seed)
    if name.endswith("running_mean") or name.endswith("bias"):
        value = 0.2 * (2.0 * u - 1.0)
    elif name.endswith("running_var") or len(shape) == 1:
        value = 0.5 + u
    else:
        value = (2.0 * u - 1.0) * math.sqrt(6.0 / math.prod(shape[1:]))
    return torch.from_numpy(value).float()
