"""A backbone by name is a model only with weights."""

from __future__ import annotations

from unreid.config import CfgNode
from unreid.utils.errors import UserError


def check_start_weights(cfg: CfgNode, name: str) -> None:
    """Raises :class:`UserError` if a backbone that a user names as a model would have random weights.

    Vectors of random weights tell nobody apart, and no second call could make the same.
    """
    if not cfg.MODEL.BACKBONE.PRETRAIN:
        raise UserError(
            f"{name} with MODEL.BACKBONE.PRETRAIN False has random weights, whose vectors mean nothing: give its "
            "weights with --set MODEL.BACKBONE.PRETRAIN_PATH FILE."
        )
    if cfg.MODEL.INIT_PATH:
        raise UserError(
            f"{name} takes its weights from MODEL.BACKBONE.PRETRAIN_PATH; a checkpoint is a model itself: say "
            f"{cfg.MODEL.INIT_PATH} instead of {name}."
        )
