"""What a trainer's state must hold, whatever run it belongs to."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from unreid.engine.rng import check_rng_state
from unreid.structures import RoundPlan
from unreid.utils.state import StateError, entries, floating_tensors, require_labels, require_tensor

PARTS: dict[str, Any] = {"state": dict, "plan": (dict, type(None)), "model": dict, "method": dict, "optimizer": dict}
PARTS |= {"precision": dict, "guard": dict, "rng": dict, "hooks": dict}
COUNTERS = ("round", "epoch", "epoch_of_round", "step", "global_step")
ADDED: dict[str, Any] = {"unreported": bool}
"""Entries of the trainer's position that older checkpoints lack."""


def check_state(state: Any) -> None:
    """Raises :class:`StateError` unless ``state`` has the entries and values of a trainer's state."""
    entries(state, "the trainer's state", PARTS)
    counters = entries(state["state"], "'state'", dict.fromkeys(COUNTERS, int), ADDED)
    for name in COUNTERS:
        if counters[name] < (-1 if name == "round" else 0):
            raise StateError(f"{name!r} of 'state' is {counters[name]}")
    _check_plan(state["plan"], counters)
    _check_tensors(state["model"], "the model")
    optimizer = entries(state["optimizer"], "the optimiser's state", {"state": dict, "param_groups": list})
    for number, group in enumerate(optimizer["param_groups"]):
        if not isinstance(group, dict) or not isinstance(group.get("params"), list):
            raise StateError(f"parameter group {number} of the optimiser has no list of parameters")
    guard = entries(state["guard"], "the round guard's state", {"empty_rounds": int, "previous": (Tensor, type(None))})
    if guard["empty_rounds"] < 0:
        raise StateError(f"'empty_rounds' of the round guard is {guard['empty_rounds']}")
    require_labels(guard["previous"], "'previous' of the round guard's state")
    check_rng_state(state["rng"])
    for name, part in state["hooks"].items():
        if not isinstance(name, str) or not isinstance(part, dict):
            raise StateError(f"the state of the hook {name!r} is no dict")
    _check_finite(state["model"], "the model", infinite=True)
    _check_finite(state["method"], "the method", infinite=True)
    _check_finite(optimizer["state"], "the optimiser", infinite=False)  # a huge gradient may leave inf, never NaN


def _check_plan(plan: dict[str, Any] | None, counters: dict[str, int]) -> None:
    if plan is None:
        if counters["step"] or counters["epoch_of_round"]:
            raise StateError("it stands inside a round and has no 'plan'")
        return
    kinds: dict[str, Any] = {"targets": Tensor, "epochs": int, "iters": int, "optimizer": str}
    kinds |= {"lr": (float, type(None)), "lr_milestones": (list, tuple)}
    kinds |= {"sampler": (str, type(None)), "batch_size": (int, type(None))}
    entries(plan, "the plan", {field.name: kinds.get(field.name, object) for field in fields(RoundPlan)})
    require_labels(plan["targets"], "'targets' of the plan")
    if plan["epochs"] < 1 or plan["iters"] < 0 or (plan["batch_size"] or 1) < 1 or (plan["lr"] or 0) < 0:
        raise StateError("the plan has a negative or empty number of epochs, steps, samples or a negative rate")
    if plan["optimizer"] not in ("keep", "rebuild"):
        raise StateError(f"'optimizer' of the plan is {plan['optimizer']!r}")
    if not all(type(milestone) is int for milestone in plan["lr_milestones"]):
        raise StateError("'lr_milestones' of the plan are no whole numbers")


def _check_tensors(state: dict[Any, Any], what: str) -> None:
    for key, value in state.items():
        if not isinstance(key, str):
            raise StateError(f"{what} has an entry {key!r} that is no name")
        require_tensor(value, f"{key!r} of {what}")


def _check_finite(part: Any, what: str, *, infinite: bool) -> None:
    for _, value in floating_tensors(part):
        bad = ~torch.isfinite(value) if infinite else torch.isnan(value)
        if bool(bad.any()):
            raise StateError(f"{what} holds NaN or infinite numbers, so training had diverged: take an older one")
