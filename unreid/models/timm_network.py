"""What has to be known of timm: how its networks are made, sized, taken apart, and how their weight files differ."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unreid.models.same_order import in_order
from unreid.utils.errors import UserError

IN_ORDER = ("convnext", "efficientnet", "mobilenetv3", "swin_transformer", "vision_transformer")
"""Families whose layers timm and torchvision list in one order (in some of them with another epsilon of BN)."""


def create(name: str, image_size: tuple[int, int]) -> nn.Module:
    """The network without classifier, with random weights, for images of that size.

    Raises:
        UserError: timm has no such network or cannot make it for such images.
    """
    import timm

    if not timm.is_model(name):
        raise UserError(f"timm {timm.__version__} has no network {name.partition('.')[0]!r}.")
    try:
        with torch.device("meta"):
            outline = timm.create_model(name, pretrained=False, num_classes=0)
    except RuntimeError as error:
        raise UserError(f"timm cannot make {name}: {_line(error)}") from error
    takes = inspect.signature(type(outline).__init__).parameters
    options: dict[str, Any] = {}
    if "img_size" in takes:
        options["img_size"] = image_size
    if "dynamic_img_size" in takes:
        options["dynamic_img_size"] = True
    if "strict_img_size" in takes:
        options["strict_img_size"] = False
    try:
        return timm.create_model(name, pretrained=False, num_classes=0, **options)
    except Exception as error:  # every family of networks has its own way of refusing a size
        raise UserError(needed_size(name, outline, image_size, error)) from error


def needed_size(name: str, net: Any, size: tuple[int, int], error: Exception) -> str:
    """The sentence that says that a network does not take images of a size."""
    height, width = net.pretrained_cfg["input_size"][1:]
    patch = getattr(getattr(net, "patch_embed", None), "patch_size", None)
    if isinstance(patch, tuple) and any(side % step for side, step in zip(size, patch)):
        fitting = [max(1, round(side / step)) * step for side, step in zip(size, patch)]
        return (
            f"timm/{name} takes images whose sides are multiples of its patches of {patch[0]} x {patch[1]} pixels, not "
            f"{size[0]} x {size[1]}: set INPUT.SIZE_TRAIN and INPUT.SIZE_TEST to {fitting}."
        )
    return (
        f"timm/{name} does not take images of {size[0]} x {size[1]} ({_line(error)}): it was made for {height} x "
        f"{width}; see INPUT.SIZE_TRAIN and INPUT.SIZE_TEST."
    )


def published(name: str) -> dict[str, Tensor]:
    """The weights that timm publishes, downloaded or from its cache.

    Raises:
        UserError: there are none.
        OSError, RuntimeError: they cannot be had.
    """
    import timm

    config = timm.get_pretrained_cfg(name)
    if config is None or not (config.has_weights):
        raise UserError(
            f"timm publishes no weights for {name}: set MODEL.BACKBONE.PRETRAIN False, or give PRETRAIN_PATH a file."
        )
    return timm.create_model(name, pretrained=True).state_dict()


def adapted(state: Mapping[str, Tensor], net: nn.Module, name: str) -> dict[str, Tensor]:
    """``state`` through the filter with which timm reads the weights of that family, resized positions included."""
    import timm

    family = sys.modules[timm.model_entrypoint(name).__module__]
    rename = getattr(family, "checkpoint_filter_fn", None)
    named = dict(state) if rename is None else dict(rename(dict(state), net))
    positions, own = named.get("pos_embed"), net.state_dict().get("pos_embed")
    if positions is not None and own is not None and positions.ndim == own.ndim == 3 and positions.shape != own.shape:
        named["pos_embed"] = _resized(positions, own, net)
    return named


def _resized(positions: Tensor, own: Tensor, net: Any) -> Tensor:
    """Positions (1, prefix + h * w, C) of a square grid, for the grid of ``net``; as they are where it has none."""
    from timm.layers import resample_abs_pos_embed

    grid = getattr(getattr(net, "patch_embed", None), "grid_size", None)
    if grid is None or positions.shape[2] != own.shape[2]:
        return positions
    prefix = own.shape[1] - grid[0] * grid[1]
    if prefix < 0 or math.isqrt(positions.shape[1] - prefix) ** 2 != positions.shape[1] - prefix:
        return positions
    return resample_abs_pos_embed(positions, new_size=list(grid), num_prefix_tokens=prefix)


def by_order(state: Mapping[str, Tensor], name: str) -> list[dict[str, Tensor]]:
    """torchvision's file for the same network under timm's names, where that has been checked; else nothing."""
    import timm

    if timm.model_entrypoint(name).__module__.rpartition(".")[2] not in IN_ORDER:
        return []
    with torch.device("meta"):
        outline = timm.create_model(name, pretrained=False, num_classes=0)
    found = in_order(state, outline.state_dict())
    return [] if found is None else [found]


def stages_of(net: Any) -> dict[str, list[nn.Module | nn.Parameter]]:
    """Stem and four parts, by timm's own grouping of the layers, or in the order of the network's children."""
    from timm.models import group_parameters

    groups: dict[Any, list[str]] = {}
    if hasattr(net, "group_matcher"):
        try:
            groups = group_parameters(net, net.group_matcher(coarse=True))
        except AssertionError:  # RDNet knows its single layers only
            groups = group_parameters(net, net.group_matcher(coarse=False))
    if groups and len(groups) != 5:
        groups = group_parameters(net, net.group_matcher(coarse=False))
    if not groups:
        for parameter, _ in net.named_parameters():
            groups.setdefault(".".join(parameter.split(".")[:2]), []).append(parameter)
    first, *rest = (groups[key] for key in (sorted(groups) if hasattr(net, "group_matcher") else groups))
    cuts = [round(k * len(rest) / 4) for k in range(5)]
    stages = {"stem": first}
    for k in range(4):
        stages[f"layer{k + 1}"] = [one for names in rest[cuts[k] : cuts[k + 1]] for one in names]
    return {stage: _owners(net, names) for stage, names in stages.items()}


def _owners(net: nn.Module, parameters: list[str]) -> list[nn.Module | nn.Parameter]:
    """The layers that hold the parameters, or the parameters themselves where their holder has other parts too."""
    parts: dict[int, nn.Module | nn.Parameter] = {}
    for name in parameters:
        holder = net.get_submodule(name.rpartition(".")[0])
        part = net.get_parameter(name) if any(holder.children()) else holder
        parts[id(part)] = part
    return list(parts.values())


def _line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:160].rstrip(".") if text else type(error).__name__
