"""Checkpoint files of a run: what is in them, and how a model is read back from one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unreid.models.convert import weights_for
from unreid.models.weight_files import read_file
from unreid.utils.errors import UserError
from unreid.utils.io import atomic_save, load_checkpoint

logger = logging.getLogger(__name__)

FORMAT = "unreid"
VERSION = 1


def encoder_state(trainer_state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Weights of the network that is evaluated: the teacher's where there is one."""
    teacher = trainer_state["method"].get("teacher")
    if teacher is None:
        return trainer_state["model"]
    return {key.removeprefix("model."): value for key, value in teacher.items() if key.startswith("model.")}


def save_run(path: Path, trainer_state: dict[str, Any], config: str, results: dict[str, Any]) -> None:
    """Writes a full checkpoint atomically: weights for evaluation, and everything needed to go on.

    Args:
        config: the resolved config as YAML.
        results: the last evaluation, plain numbers.
    """
    atomic_save(
        {
            "format": FORMAT,
            "version": VERSION,
            "model": encoder_state(trainer_state),
            "config": config,
            "results": results,
            "trainer": trainer_state,
        },
        path,
    )


def save_model(path: Path, trainer_state: dict[str, Any], config: str, results: dict[str, Any]) -> None:
    """Writes the evaluated network only (``model_best.pth``)."""
    content = {"format": FORMAT, "version": VERSION, "model": encoder_state(trainer_state)}
    atomic_save({**content, "config": config, "results": results}, path)


def load_run(path: str | Path) -> dict[str, Any]:
    """The trainer state of a full checkpoint; :class:`UserError` if the file cannot be trained on."""
    content = load_checkpoint(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(
            f"{path} is not a checkpoint of this project, so training cannot go on from it; "
            "evaluate it with TEST.EVAL_ONLY True, or convert it with tools/convert_checkpoint.py."
        )
    if "trainer" not in content:
        raise UserError(
            f"{path} holds a model for evaluation only; to go on with training, RESUME from the run's checkpoint.pth."
        )
    return content["trainer"]


def load_model(path: str | Path, model: nn.Module) -> dict[str, Any]:
    """Loads the evaluated network of a checkpoint into ``model``, strictly; its classifier, if any, is left alone.

    Files of the reference repositories are converted on the fly where their layout is unambiguous.

    Returns:
        The results stored with it (empty if none).

    Raises:
        UserError: the file is missing, unreadable, or does not fit the configured model.
    """
    content = read_file(path)
    weights = _fitting(weights_for(content, model, str(path)), model, path)
    model.load_state_dict({**model.state_dict(), **weights})
    return content.get("results", {}) if isinstance(content, dict) else {}


def _fitting(weights: dict[str, torch.Tensor], model: nn.Module, path: str | Path) -> dict[str, torch.Tensor]:
    """The weights without a classifier; :class:`UserError` unless they are exactly the rest of ``model``."""
    expected = {key: value.shape for key, value in model.state_dict().items() if not key.startswith("classifier.")}
    weights = {key: value for key, value in weights.items() if not key.startswith("classifier.")}
    missing = [key for key in expected if key not in weights]
    unknown = [key for key in weights if key not in expected]
    wrong = [key for key in weights if key in expected and weights[key].shape != expected[key]]
    for problem, keys in (("lacks", missing), ("has the unknown", unknown), ("has another shape for", wrong)):
        if keys:
            raise UserError(
                f"{path} does not fit the configured model: it {problem} {keys[0]!r} ({len(keys)} tensors in all); "
                "use the config it was trained with (MODEL.BACKBONE.NAME, MODEL.POOLING.NAME, MODEL.EMBED_DIM)."
            )
    return weights
