"""Published checkpoints as files: conversion, and the check that a file's network is the configured one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from unreid.models.checkpoint_keys import Converted, convert_checkpoint, export_state_dict
from unreid.models.pooling import GeneralizedMeanPooling
from unreid.models.weight_files import read_file
from unreid.utils.errors import UserError
from unreid.utils.io import atomic_save

logger = logging.getLogger(__name__)

FORMAT = "unreid"


def convert_file(
    source: str | Path, target: str | Path, *, layout: str = "auto", to: str = FORMAT, trust: bool = False
) -> Converted:
    """Converts a published checkpoint into one that ``TEST.EVAL_ONLY`` takes, or one of ours into a published layout.

    Args:
        source: file in a published layout, or of this project.
        target: file to write.
        layout: layout of ``source`` if it is a published one; see ``convert_checkpoint``.
        to: "unreid", or the published layout to write.
        trust: unpickle ``source`` without limits; see ``read_file``.

    Returns:
        The network and the config keys that its file implies (none for a file of this project).

    Raises:
        UserError: the file cannot be read, or is not a whole network in a known layout.
    """
    content = read_file(source, trust=trust)
    if isinstance(content, Mapping) and content.get("format") == FORMAT:
        converted = Converted(FORMAT, dict(content["model"]), dict(content.get("config_hints", {})))
    else:
        converted = convert_checkpoint(content, layout, str(source))
    if to == FORMAT:
        atomic_save(
            {"format": FORMAT, "version": 1, "model": converted.state, "config_hints": converted.hints}, Path(target)
        )
    else:
        atomic_save(export_state_dict(converted.state, to), Path(target))
    return converted


def weights_for(content: Any, model: nn.Module, origin: str = "the file") -> dict[str, Tensor]:
    """The tensors of a file for ``model``, converted where the file is a published one.

    Args:
        content: what ``read_file`` returned, in this project's format or a published layout.
        model: the configured ``EmbeddingModel``.
        origin: name of the file for messages.

    Raises:
        UserError: unknown layout, or the file needs another config.
    """
    if isinstance(content, Mapping) and content.get("format") == FORMAT:
        state, hints = dict(content["model"]), content.get("config_hints", {})
    else:
        converted = convert_checkpoint(content, origin=origin)
        state, hints = converted.state, converted.hints
        logger.info("%s: converted from the layout %s", origin, converted.layout)
    require_fit(state, hints, model, origin)
    return state


def require_fit(state: Mapping[str, Tensor], hints: Mapping[str, Any], model: nn.Module, origin: str) -> None:
    """Checks what shapes alone do not show: pooling, stem, strides and the place of the frame average.

    The last stride leaves no trace in the tensors, so a difference there is a warning only.

    Raises:
        UserError: the file needs another value of a config key; names it.
    """
    has_exponent = "pooling.p" in state
    if has_exponent != isinstance(model.pooling, GeneralizedMeanPooling):
        needed = "gem" if has_exponent else "avg"
        why = "has" if has_exponent else "has no"
        raise UserError(f"{origin} {why} GeM exponent: set MODEL.POOLING.NAME {needed}.")
    for key, value in describe(model).items():
        if hints.get(key, value) == value:
            continue
        if key != "MODEL.BACKBONE.LAST_STRIDE":
            raise UserError(f"{origin} was trained with {key} {hints[key]}, the config says {value}: set {key}.")
        logger.warning("%s comes from a repository with %s %s, the config says %s", origin, key, hints[key], value)


def describe(model: nn.Module) -> dict[str, Any]:
    """The config values of a model that decide its features without deciding a shape."""
    backbone = model.backbone
    found: dict[str, Any] = {"MODEL.FRAME_POOL": model.frame_pool}
    if hasattr(backbone, "stem_relu"):
        found["MODEL.BACKBONE.STEM_RELU"] = backbone.stem_relu
    if hasattr(backbone, "last_stride"):
        found["MODEL.BACKBONE.LAST_STRIDE"] = backbone.last_stride
    return found
