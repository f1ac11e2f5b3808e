"""Reads weight files of strangers: tensors only, whatever container they are wrapped in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unreid.models.onnx_file import read_onnx
from unreid.utils.errors import UserError
from unreid.utils.packages import require_packages
from unreid.utils.shipped_weights import locate_weights
from unreid.utils.torch_file import read_torch

CONTAINERS = ("state_dict", "model", "teacher", "model_state_dict", "student", "net", "network", "module", "weights")
"""Entries that hold the network in published files, in order of preference (DINO: the teacher)."""

OWN_FORMAT = "unreid"
"""What the metadata of a .safetensors file of this project say it is."""


WRAPPERS = ("module", "_orig_mod")
"""What DataParallel and ``torch.compile`` put into tensor names, at the front or where they wrap a part."""


def below(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The entries whose names begin with ``prefix``, without it."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def read_file(path: str | Path, *, trust: bool = False) -> Any:
    """The content of a weight file, on the CPU.

    Args:
        path: what ``torch.save`` wrote (.pth, .pt, .pth.tar), or .safetensors or .onnx, which hold tensors by name; or
            the bare name of a network that comes with the package.
        trust: unpickle without limits. A prepared file can then run any code: only for files of one's own.

    Raises:
        UserError: no such file, not one of these formats, or one that holds more than tensors and plain values.
    """
    path = locate_weights(path)
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return read_onnx(path)
    if suffix == ".safetensors":
        return read_safetensors(path)
    return read_torch(path, kind="weight file", trust=trust)


def read_safetensors(path: str | Path) -> dict[str, Any]:
    """The tensors of a .safetensors file; of one that says it is ours, what a checkpoint without a trainer holds.

    Raises:
        UserError: no such file, a damaged one, or the package safetensors is missing.
    """
    require_packages(path, "safetensors", way_out="install it, or save the file as .pth")
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise UserError(f"There is no weight file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            own = file.metadata() or {}
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is not a safetensors file, or it is cut off or damaged ({error}).") from None
    if own.get("format") != OWN_FORMAT:
        return state
    texts = {name: own[name] for name in ("config", "feature") if own.get(name)}
    version = int(own["version"]) if own.get("version", "").isdecimal() else own.get("version")
    return {"format": OWN_FORMAT, "version": version, "model": state, **texts}


def find_state(content: Any, path: str | Path) -> dict[str, Tensor]:
    """The dict of tensors inside the content of a weight file, unwrapped from its containers.

    Raises:
        UserError: there is none, or its tensors are not named by texts, or not dense.
    """
    while isinstance(content, Mapping):
        tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
        inner = next((content[name] for name in CONTAINERS if isinstance(content.get(name), Mapping)), None)
        if inner is not None:
            content = inner
            continue
        if tensors:
            _check_names(tensors, path)
            return tensors
        break
    raise UserError(
        f"{path} holds no state dict: expected tensors by name, or one of the entries {', '.join(CONTAINERS)}."
    )


def unwrapped(state: Mapping[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """The tensors under their names without what DataParallel and ``torch.compile`` add, in any order and depth.

    Raises:
        UserError: two names become one.
    """
    plain: dict[str, Tensor] = {}
    for key, value in state.items():
        name = ".".join(part for part in key.split(".") if part not in WRAPPERS)
        if name in plain:
            raise UserError(f"{path} holds two tensors for {name!r}, one of them as {key!r}: keep one of them.")
        plain[name] = value
    return plain


def require_finite(state: Mapping[str, Any], path: str | Path) -> None:
    """Raises :class:`UserError` if a weight is NaN or infinite: the run that wrote them had diverged."""
    for key, value in state.items():
        if isinstance(value, Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise UserError(
                f"{path} holds weights that are NaN or infinite (such as {key!r}), so its training had diverged: "
                "take an older checkpoint."
            )


def _check_names(tensors: Mapping[Any, Tensor], path: str | Path) -> None:
    for key, value in tensors.items():
        if not isinstance(key, str):
            raise UserError(f"{path} names a tensor {key!r}; tensors of a state dict are named by texts.")
        if value.layout is not torch.strided or value.is_quantized:
            raise UserError(f"{path} holds {key!r} as a sparse or quantized tensor; save it as a dense one.")
