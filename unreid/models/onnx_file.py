"""The weights in an ONNX file, under the names of the PyTorch modules that it was exported from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unreid.utils.errors import UserError

_LAYERS: dict[str, tuple[str, ...]] = {
    "Conv": ("weight", "bias"),
    "Gemm": ("weight", "bias"),
    "InstanceNormalization": ("weight", "bias"),
    "BatchNormalization": ("weight", "bias", "running_mean", "running_var"),
}
MAX_BYTES = 1 << 31
"""Of a protobuf message, which the format itself does not exceed."""


def read_onnx(path: str | Path) -> dict[str, Tensor]:
    """Weights of convolutions, linear layers and norms by module name, such as ``conv2.0.conv1.conv.weight``.

    An exporter that folds BatchNorm into the convolution before it leaves a convolution with a bias; what to do about
    that is the business of :mod:`unreid.models.folded_norms`.

    Raises:
        UserError: the package onnx is missing, the file is damaged, keeps its weights elsewhere, or was exported
            without the names of its modules.
    """
    graph = _graph(path)
    from onnx import TensorProto, numpy_helper

    constants = {}
    for tensor in graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            raise UserError(f"{path} keeps its weights in other files: save it as one file.")
        constants[tensor.name] = tensor
    state: dict[str, Tensor] = {}
    for node in graph.node:
        module = _module_name(node.name)
        for leaf, given in zip(_LAYERS.get(node.op_type, ()), list(node.input)[1:]):
            if given not in constants:
                continue
            name = given if given.endswith(f".{leaf}") else f"{module}.{leaf}"
            if not name.removesuffix(f".{leaf}"):
                raise UserError(f"{path} does not name the modules of its layers: export it with PyTorch's own names.")
            try:
                value = torch.from_numpy(numpy_helper.to_array(constants[given]).copy())
            except (ValueError, TypeError, RuntimeError) as error:
                raise UserError(f"{path} holds a damaged tensor {given!r} ({error}).") from None
            # A shared layer, such as a gate that runs once a branch, is met again under numbered names.
            state.setdefault(name, value.T.contiguous() if _stored_transposed(node, leaf) else value)
    if not state:
        raise UserError(f"{path} holds no convolution and no linear layer with weights.")
    return state


def _graph(path: str | Path) -> Any:
    try:
        import onnx
    except ImportError:
        raise UserError(
            f"{path} is an ONNX file, which needs the package onnx, and that is not installed: install it, or convert "
            "the file where it is."
        ) from None
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no weight file {path}.")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path} is larger than an ONNX file can be.")
    try:
        return onnx.load(str(path), load_external_data=False).graph
    except Exception as error:  # the decoder of protobuf has exceptions of its own
        raise UserError(f"{path} is not an ONNX file, or it is damaged ({type(error).__name__}).") from None


def _stored_transposed(node: Any, leaf: str) -> bool:
    """A Gemm multiplies by its weight as it is unless told otherwise; PyTorch's linear layer holds the transpose."""
    flags = {attribute.name: attribute.i for attribute in node.attribute}
    return node.op_type == "Gemm" and leaf == "weight" and not flags.get("transB", 0)


def _module_name(scope: str) -> str:
    """``/conv2/conv2.0/conv1/conv/Conv`` -> ``conv2.0.conv1.conv``: children of a container repeat its name."""
    parts: list[str] = []
    for part in scope.split("/")[:-1]:
        if parts and part.startswith(f"{parts[-1]}."):
            parts[-1] = part
        elif part:
            parts.append(part)
    return ".".join(parts)
