"""What a checkpoint file of this project holds; the one place that knows, for writing and for reading.

==================  =================================================================  =======================
entry               content                                                            where
==================  =================================================================  =======================
``format``          "unreid"                                                           always
``version``         1                                                                  always
``model``           tensors of the evaluated network by name                           always
``config``          the resolved config as YAML                                        files of a run
``results``         the last evaluation, plain numbers                                 files of a run
``feature``         what the run's method retrieves with ("embedding", "pooled" ...)   files of a run, newer ones
``trainer``         everything needed to go on with training                           ``checkpoint*.pth``
``config_hints``    config key -> value that the weights need                          converted files
==================  =================================================================  =======================

The zip archive around them holds a CRC-32 of every entry, which is compared when the file is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from unreid.models.weight_files import find_state
from unreid.utils.errors import UserError
from unreid.utils.state import StateError, entries

FORMAT = "unreid"
VERSION = 1
FEATURES = ("embedding", "pooled", "pooled_l2")
MAX_CONFIG = 1 << 20
"""Characters of a config; a real one has some thousands."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of this project.

    Attributes:
        model: tensors of the evaluated network by name.
        config: the resolved config as YAML; "" in converted files.
        results: the last evaluation, plain numbers.
        feature: what the method retrieves with; "" in older and converted files.
        trainer: state of the trainer, or None in a file for evaluation only.
        hints: config key -> value that the weights need, of a converted file.
    """

    model: dict[str, Tensor]
    config: str = ""
    results: dict[str, Any] = field(default_factory=dict)
    feature: str = ""
    trainer: dict[str, Any] | None = None
    hints: dict[str, Any] = field(default_factory=dict)

    def pack(self) -> dict[str, Any]:
        """What is written; :func:`unpack` is the inverse."""
        content: dict[str, Any] = {"format": FORMAT, "version": VERSION, "model": self.model}
        if self.config:
            content |= {"config": self.config, "results": self.results}
        if self.feature:
            content["feature"] = self.feature
        if self.hints:
            content["config_hints"] = self.hints
        if self.trainer is not None:
            content["trainer"] = self.trainer
        return content


def is_own(content: Any) -> bool:
    """Whether the content of a file says that it is a checkpoint of this project."""
    return isinstance(content, Mapping) and isinstance(content.get("format"), str) and content["format"] == FORMAT


def unpack(content: Any, path: str | Path) -> Checkpoint:
    """The checked content of a file that :func:`is_own`.

    Raises:
        UserError: another version, or an entry that is missing, unknown or of another type.
    """
    version = content.get("version")
    if type(version) is not int or version != VERSION:
        raise UserError(
            f"{path} is a checkpoint of version {version!r}, and this release reads version {VERSION}: use the release "
            "that wrote it."
        )
    try:
        found = entries(
            {key: value for key, value in content.items() if key not in ("format", "version")},
            "the file",
            {"model": dict},
            {"config": str, "results": dict, "feature": str, "trainer": dict, "config_hints": dict},
        )
        if found.get("feature", FEATURES[0]) not in FEATURES:
            raise StateError(f"'feature' is {found['feature']!r} and not one of {', '.join(FEATURES)}")
        if len(found.get("config", "")) > MAX_CONFIG:
            raise StateError("'config' is longer than any config")
        named = {**found["model"]}
        if not named or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in named.items()):
            raise StateError("'model' does not hold tensors by name")
    except StateError as error:
        raise UserError(f"{path} is a damaged checkpoint: {error}.") from None
    state = find_state({"state_dict": named}, path)
    return Checkpoint(
        model=state,
        config=found.get("config", ""),
        results=found.get("results", {}),
        feature=found.get("feature", ""),
        trainer=found.get("trainer"),
        hints=found.get("config_hints", {}),
    )


def parse_config(text: str, path: str | Path) -> dict[str, Any]:
    """The config of a checkpoint as nested dicts; see :func:`flat_config`.

    Raises:
        UserError: the text is no config. Anchors, which can make a short text endless, are not taken: none is written.
    """
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise UserError(f"{path} is a damaged checkpoint: its config refers to parts of itself.")
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is a damaged checkpoint: its config is not readable ({reason}).") from None
    if not isinstance(content, dict) or not _texts_throughout(content):
        raise UserError(f"{path} is a damaged checkpoint: its config is no table of keys.")
    return content


def flat_config(text: str, path: str | Path) -> dict[str, Any]:
    """The config of a checkpoint as full key -> value; raises as :func:`parse_config`."""
    flat: dict[str, Any] = {}

    def add(node: dict[str, Any], prefix: str) -> None:
        for key, value in node.items():
            if isinstance(value, dict):
                add(value, f"{prefix}{key}.")
            else:
                flat[f"{prefix}{key}"] = value

    add(parse_config(text, path), "")
    return flat


def _texts_throughout(node: dict[Any, Any]) -> bool:
    return all(
        isinstance(key, str) and (not isinstance(value, dict) or _texts_throughout(value))
        for key, value in node.items()
    )


def same_kind(dtype: torch.dtype, other: torch.dtype) -> bool:
    """Whether values of one type can stand for the other: both of floating point, or equal."""
    return dtype == other or (dtype.is_floating_point and other.is_floating_point)
