"""From a config to its method."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from unreid.methods.base import METHODS, Method
from unreid.utils.errors import UserError

if TYPE_CHECKING:
    from unreid.config import CfgNode


def build_method(cfg: CfgNode, *, model: nn.Module, camids: Tensor | list[int]) -> Method:
    """The method that ``METHOD.NAME`` names; :class:`UserError` if the config asks for parts it cannot take."""
    from unreid.config import get_cfg  # here, so that steps are timed where there is no yacs

    kind = METHODS.get(cfg.METHOD.NAME)
    defaults = get_cfg()
    for key in kind.ignored:
        default = _value(defaults, key)
        if _value(cfg, key) != default:
            raise UserError(f"{cfg.METHOD.NAME} has no use for {key} {_value(cfg, key)}: leave it at {default}.")
    device = next(model.parameters()).device
    camids = torch.as_tensor(camids, dtype=torch.int64, device=device)
    return kind.from_config(cfg, model=model, camids=camids)


def _value(cfg: CfgNode, key: str) -> Any:
    return functools.reduce(getattr, key.split("."), cfg)
