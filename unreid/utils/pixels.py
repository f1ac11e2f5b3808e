"""Mean and standard deviation of a run's pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Triple = tuple[float, float, float]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
TIMM = "timm/"
"""Begins the names of backbones that timm looks up."""


def pixel_statistics(cfg: Any) -> tuple[Triple, Triple]:
    """``INPUT.PIXEL_MEAN`` and ``PIXEL_STD``, or what the weights of a timm backbone were trained with.

    The latter where ``INPUT.PIXEL_SOURCE`` is "auto" and both keys have their default, which is ImageNet's.
    """
    mean, std = _triple(cfg.INPUT.PIXEL_MEAN), _triple(cfg.INPUT.PIXEL_STD)
    name = cfg.MODEL.BACKBONE.NAME
    if cfg.INPUT.PIXEL_SOURCE == "auto" and name.startswith(TIMM) and (mean, std) == (IMAGENET_MEAN, IMAGENET_STD):
        return timm_statistics(name.removeprefix(TIMM)) or (mean, std)
    return mean, std


def timm_statistics(name: str) -> tuple[Triple, Triple] | None:
    """Mean and standard deviation of the weights that timm publishes under a name; None where it knows none."""
    import timm

    found = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    return (_triple(found.mean), _triple(found.std)) if found is not None else None


def _triple(values: Sequence[float]) -> Triple:
    red, green, blue = values
    return red, green, blue
