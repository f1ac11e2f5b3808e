"""The stride of any network's last stage, found by watching a forward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

_POOLS = (nn.AvgPool2d, nn.MaxPool2d)
Probe = Callable[[], Tensor]


@dataclass(frozen=True)
class Reduction:
    """A layer that halves the map.

    Attributes:
        name: in the network.
        layer: a convolution or pooling of stride 2.
        before, after: height and width of its input and output.
    """

    name: str
    layer: nn.Module
    before: tuple[int, int]
    after: tuple[int, int]


def refine_last_stage(net: nn.Module, probe: Probe) -> bool:
    """Sets every stride that leads to the size of the last map from 2 to 1, shortcuts included.

    Weights stay as they are. A pooling of windows that do not overlap, as in the shortcuts of ResNet-D, is left out.

    Args:
        net: changed in place, if at all.
        probe: forward pass of ``net`` that returns the last map (N, C, h, w).

    Returns:
        Whether the map has doubled its sides. If not, or if the network does not run so, nothing has changed.
    """
    found, size = last_reductions(net, probe)
    if not found or not all(_has_stride_one(one.layer) for one in found):
        return False
    before: list[tuple[Any, tuple[nn.Module, str], Any]] = [
        (one, _parent(net, one.name), one.layer.stride) for one in found
    ]
    for one, (parent, child), stride in before:
        if isinstance(one.layer, _POOLS) and _sides(one.layer.kernel_size) == (2, 2):  # type: ignore[arg-type]
            setattr(parent, child, nn.Identity())
        else:
            one.layer.stride = (1, 1) if isinstance(stride, tuple) else 1
    try:
        doubled = all(new >= 2 * old - 1 > 0 for new, old in zip(probe().shape[2:], size))
    except Exception:  # whatever the network raises where its parts do not fit any more
        doubled = False
    if not doubled:
        for one, (parent, child), stride in before:
            setattr(parent, child, one.layer)
            one.layer.stride = stride
    return doubled


def last_reductions(net: nn.Module, probe: Probe) -> tuple[list[Reduction], tuple[int, int]]:
    """The layers of stride 2 whose output has the size of the last map, and that size."""
    seen: list[Reduction] = []

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            sizes = [(int(x.shape[-2]), int(x.shape[-1])) for x in (inputs[0], output)]
            seen.append(Reduction(name, layer, *sizes))

        return note

    handles = [layer.register_forward_hook(watch(name)) for name, layer in net.named_modules() if _strides(layer)]
    try:
        last = probe()
    finally:
        for handle in handles:
            handle.remove()
    size = (int(last.shape[2]), int(last.shape[3]))
    unique = {one.name: one for one in seen if one.after == size and one.before != size}
    return list(unique.values()), size


def _strides(layer: nn.Module) -> bool:
    stride = getattr(layer, "stride", 1)
    known = isinstance(layer, (nn.Conv2d, *_POOLS)) or type(layer).__name__ == "BlurPool2d"
    return known and _sides(stride) == (2, 2)


def _has_stride_one(layer: nn.Module) -> bool:
    """An even window has no centre: its map would lose a row, which only a plain pooling can be left out for."""
    if isinstance(layer, _POOLS):
        return True
    kernel = getattr(layer, "kernel_size", 3)
    return all(side % 2 for side in _sides(kernel))


def _sides(value: int | tuple[int, ...] | list[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))


def _parent(net: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, child = name.rpartition(".")
    return net.get_submodule(path), child
