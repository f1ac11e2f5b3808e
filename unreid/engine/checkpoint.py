"""Checkpoint files of a run, written and read back; what is in them stands in ``models/checkpoint_format.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from unreid.engine.stored_state import check_state
from unreid.models.checkpoint_format import Checkpoint, is_own, unpack
from unreid.models.checkpoint_keys import is_classifier
from unreid.models.convert import is_head, load_weights
from unreid.models.weight_files import below, read_file
from unreid.utils.errors import UserError
from unreid.utils.io import atomic_save, load_checkpoint
from unreid.utils.shipped_weights import locate_weights
from unreid.utils.state import StateError


def encoder_state(trainer_state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Weights of the network that is evaluated: the teacher's where there is one."""
    teacher = trainer_state["method"].get("teacher")
    if teacher is None:
        return trainer_state["model"]
    return below(teacher, "model.")


def save_run(
    path: Path,
    trainer_state: dict[str, Any],
    config: str,
    results: dict[str, Any],
    feature: str = "",
    *,
    whole: bool = True,
) -> None:
    """Writes a checkpoint atomically: the evaluated network, and if it is ``whole`` everything needed to go on.

    Args:
        results: the last evaluation, plain numbers.
    """
    going_on = trainer_state if whole else None
    atomic_save(Checkpoint(encoder_state(trainer_state), config, results, feature, going_on).pack(), path)


def read_run(path: str | Path) -> Checkpoint:
    """A full checkpoint, whose ``trainer`` is there and whole.

    Compare it with the config by :func:`unreid.engine.resume.check_resumable` before anything is written.

    Raises:
        UserError: the file is missing or damaged, or training cannot go on from it.
    """
    content = load_checkpoint(locate_weights(path))
    if not is_own(content):
        raise UserError(
            f"{path} is not a checkpoint of this project, so training cannot go on from it; "
            "evaluate it with TEST.EVAL_ONLY True, or convert it with unreid convert."
        )
    checkpoint = unpack(content, path)
    if checkpoint.trainer is None:
        whole = Path(path).parent / "checkpoint.pth"
        way = f"RESUME {whole}" if whole.is_file() else f"start a new run from its network: MODEL.INIT_PATH {path}"
        raise UserError(f"{path} holds a model for evaluation only; to go on with training, {way}.")
    try:
        check_state(checkpoint.trainer)
    except StateError as error:
        raise UserError(f"{path} is a damaged checkpoint: {error}.") from None
    return checkpoint


def load_model(path: str | Path, model: nn.Module, *, start: bool = False) -> dict[str, Any]:
    """Loads the evaluated network of a checkpoint into ``model``, strictly; its classifier, if any, is left alone.

    ``start``: training begins there, so that part heads and a camera embedding may differ as well.

    Files of the reference repositories are converted on the fly where their layout is unambiguous; a bare state dict of
    one of this project's networks is taken as it is.

    Returns:
        The results stored with it (empty if none).

    Raises:
        UserError: the file is missing, unreadable, or does not fit the configured model.
    """
    content = read_file(path)
    load_weights(content, model, path, heads=is_head if start else is_classifier)
    return dict(content["results"]) if is_own(content) and "results" in content else {}
