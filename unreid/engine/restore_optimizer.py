"""A stored optimiser state: compared with the run's optimiser, and put into it."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

from unreid.utils.state import StateError, entries, require_like, require_tensor

logger = logging.getLogger(__name__)

KERNELS = ("fused", "foreach", "capturable")
"""Options that belong to the device and not to what is learnt."""
UNTRAINED = ("classifier.", "part_heads.")
"""Parameters that not every round, or method, trains."""


def load_optimizer(optimizer: torch.optim.Optimizer, stored: dict[str, Any], model: nn.Module) -> None:
    """Restores a state that passed :func:`check_optimizer`; the optimiser keeps its own choice of kernels.

    ``model`` names the parameters in messages.
    """
    fresh = optimizer.state_dict()["param_groups"]
    names = {id(param): name for name, param in model.named_parameters()}
    params = [param for group in optimizer.param_groups for param in group["params"]]
    anew = [names.get(id(param), "?") for number, param in enumerate(params) if number not in stored["state"]]
    anew = [name for name in anew if not name.startswith(UNTRAINED)]
    if stored["state"] and anew:
        logger.warning("the checkpoint has no optimiser state of %s; such parameters start anew", ", ".join(anew[:4]))
    groups = [
        {**group, **{name: mine[name] for name in KERNELS if name in mine}}
        for group, mine in zip(stored["param_groups"], fresh)
    ]
    optimizer.load_state_dict({**stored, "param_groups": groups})


def check_optimizer(stored: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Raises :class:`StateError` unless ``stored`` is a state of such an optimiser over such parameters."""
    fresh, groups = optimizer.state_dict(), stored["param_groups"]
    name = type(optimizer).__name__
    other = (
        f"the optimiser's state is none of this run's {name} (see OPTIM.OPT, OPTIM.BACKBONE_LR_MULT, MODEL.FREEZE_AT)"
    )
    if len(groups) != len(fresh["param_groups"]):
        raise StateError(f"{other}: it has {len(groups)} parameter groups and not {len(fresh['param_groups'])}")
    for group, mine in zip(groups, fresh["param_groups"]):
        missing = sorted(set(mine) - set(group), key=str) or sorted(set(group) - set(mine), key=str)
        if missing:
            raise StateError(f"{other}: {missing[0]!r} stands in one of them only")
        if group["params"] != mine["params"]:
            raise StateError(f"{other}: it has {len(group['params'])} parameters and not {len(mine['params'])}")
        if group.get("decoupled_weight_decay") != mine.get("decoupled_weight_decay"):
            raise StateError(f"{other}: its weight decay is of the other kind")
        for key, value in mine.items():
            if key not in ("params", *KERNELS):
                require_like(group[key], list(value) if key == "betas" and isinstance(group[key], list) else value, key)
                _check_option(key, group[key])
    params = [param for group in optimizer.param_groups for param in group["params"]]
    wanted = _moments(optimizer)
    for number, moments in stored["state"].items():
        if type(number) is not int or not 0 <= number < len(params):
            raise StateError(f"{other}: it has a parameter {number!r}")
        if wanted is None:
            continue
        found = entries(moments, f"the optimiser's state of parameter {number}", dict.fromkeys(wanted, object))
        for key, value in found.items():
            if key == "step":
                require_tensor(value, f"{key!r} of the optimiser's state of parameter {number}", torch.float32, ())
                if not float(value) >= 0:
                    raise StateError(f"{key!r} of the optimiser's state of parameter {number} is {float(value)}")
            elif value is not None or wanted != ("momentum_buffer",):
                what = f"{key!r} of the optimiser's state of parameter {number}"
                require_tensor(value, what, params[number].dtype, tuple(params[number].shape))


def _check_option(key: str, value: Any) -> None:
    numbers = value if isinstance(value, (list, tuple)) else [value]
    if key == "betas" and len(numbers) != 2:
        raise StateError("'betas' of the optimiser are not two numbers")
    for number in numbers:
        if isinstance(number, (int, float)) and not isinstance(number, bool) and not 0 <= number < 1e6:
            raise StateError(f"{key!r} of the optimiser is {value}")


def _moments(optimizer: torch.optim.Optimizer) -> tuple[str, ...] | None:
    """What this optimiser keeps of a parameter; None: that is known to its plug-in alone."""
    if isinstance(optimizer, torch.optim.SGD):
        return ("momentum_buffer",)
    return ("step", "exp_avg", "exp_avg_sq") if isinstance(optimizer, torch.optim.Adam) else None
