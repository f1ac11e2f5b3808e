"""Reads weight files of strangers: tensors only, whatever container they are wrapped in."""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unreid.utils.errors import UserError

CONTAINERS = ("state_dict", "model", "teacher", "model_state_dict", "student", "net", "network")
"""Entries that hold the network in published files, in order of preference (DINO: the teacher)."""


def harmless_globals() -> AbstractContextManager[Any]:
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


def read_file(path: str | Path, *, trust: bool = False) -> Any:
    """What ``torch.save`` wrote to ``path``, on the CPU.

    Args:
        path: a .pth, .pt or .pth.tar file.
        trust: unpickle without limits. A prepared file can then run any code: only for files of one's own.

    Raises:
        UserError: no such file, not a PyTorch file, or one that holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no weight file {path}.")
    try:
        with harmless_globals():
            return torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        raise UserError(_refusal(path, error)) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise UserError(f"{path} is no readable PyTorch file ({error.__class__.__name__}: {_line(error)}).") from error


def find_state(content: Any, path: str | Path) -> dict[str, Tensor]:
    """The dict of tensors inside the content of a weight file, unwrapped from its containers.

    Raises:
        UserError: there is none.
    """
    while isinstance(content, Mapping):
        tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
        inner = next((content[name] for name in CONTAINERS if isinstance(content.get(name), Mapping)), None)
        if inner is not None:
            content = inner
            continue
        if tensors:
            return tensors
        break
    raise UserError(
        f"{path} holds no state dict: expected tensors by name, or one of the entries {', '.join(CONTAINERS)}."
    )


def _refusal(path: Path, error: pickle.UnpicklingError) -> str:
    found = re.search(r"GLOBAL (\S+)", str(error))
    reason = f"it needs {found[1]}" if found else _line(error)
    return (
        f"{path} was refused because it holds more than tensors and plain values ({reason}), and unpickling that can "
        "run code: if you trust its origin, convert it once with tools/convert_checkpoint.py --trust."
    )


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else "no details"
