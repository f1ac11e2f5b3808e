"""A stored trainer state put into a built run: compared first, so that a wrong one changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from unreid.engine.hooks.base import Hook
from unreid.engine.restore_optimizer import check_optimizer, load_optimizer
from unreid.engine.rng import set_rng_state
from unreid.engine.stored_state import check_state
from unreid.engine.training import Training
from unreid.structures import RoundPlan
from unreid.utils.errors import UserError
from unreid.utils.state import StateError, entries, require_like

logger = logging.getLogger(__name__)


def restore(trainer: Training, state: dict[str, Any]) -> None:
    """Puts a stored state into the run; see ``Trainer.load_state_dict``.

    What can be compared is compared before anything is changed; the parts look at the rest when they take it over.
    """
    part = "state"
    try:
        check_state(state)
        check_fit(state, trainer)
        trainer.state = type(trainer.state)(**state["state"])
        plan = state["plan"]
        trainer.plan = None if plan is None else RoundPlan(**{**plan, "lr_milestones": tuple(plan["lr_milestones"])})
        loaders: dict[str, Callable[[Any], Any]] = {
            "model": trainer.model.load_state_dict,
            "method": trainer.method.load_state_dict,
            "optimizer": lambda stored: load_optimizer(trainer.optimizer, stored, trainer.model),
            "precision": trainer.precision.load_state_dict,
            "guard": trainer.guard.load_state_dict,
            "hooks": lambda stored: _load_hooks(trainer.hooks, stored),
            "rng": set_rng_state,
        }
        for part, load in loaders.items():
            load(state[part])
        if trainer.plan is not None and trainer.state.round >= 0:
            trainer.method.check_plan(trainer.plan)
    except StateError as error:
        raise UserError(f"The checkpoint does not fit this run: {error}.") from None
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:  # of a plug-in's part
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"The checkpoint does not fit this run: its part {part!r} cannot be restored ({reason})."
        ) from error
    trainer.storage.step = trainer.state.global_step
    if trainer.state.epoch >= trainer.max_epochs:
        logger.warning(
            "the checkpoint has %d epochs done and this run is to have %d (OPTIM.EPOCHS): nothing is left to train",
            trainer.state.epoch,
            trainer.max_epochs,
        )


def check_fit(state: dict[str, Any], trainer: Training) -> None:
    """Compares a state that passed :func:`check_state` with the built run; changes nothing.

    Raises:
        StateError: other samples, another network, method, optimiser or memory.
    """
    count = trainer.method.num_samples
    for what, labels in (
        ("the plan", state["plan"] and state["plan"]["targets"]),
        ("the round guard", state["guard"]["previous"]),
    ):
        if labels is not None and len(labels) != count:
            raise StateError(
                f"{what} is of {len(labels)} training samples and this run has {count}, so the data is another (see "
                "DATASETS.NAMES, DATASETS.ROOT)"
            )
    if state["state"]["round"] < 0 and trainer.warmup is None:
        raise StateError("it stands in the warm-up, and this run has none (WARMUP.EPOCHS)")
    require_like(state["model"], dict(trainer.model.state_dict()), "the model")
    check_optimizer(state["optimizer"], trainer.optimizer)
    method, kind = trainer.method.state_dict(), type(trainer.method)
    entries(state["method"], f"the state of {kind.__name__}", dict.fromkeys(method, object))
    for name, part in method.items():
        # A plug-in may keep entries that a fresh object does not have yet; it looks at them itself.
        if kind.__module__.startswith("unreid.") or name == "teacher":
            require_like(state["method"][name], part, f"the {name}", growing=name != "teacher")


def named_hooks(hooks: Iterable[Hook]) -> dict[str, Hook]:
    """Hooks by the name of their class; further ones of a class are numbered (``Name#2``) in calling order."""
    named: dict[str, Hook] = {}
    for hook in hooks:
        name, number = type(hook).__name__, 1
        while (key := name if number == 1 else f"{name}#{number}") in named:
            number += 1
        named[key] = hook
    return named


def _load_hooks(hooks: Iterable[Hook], stored: dict[str, Any]) -> None:
    named = named_hooks(hooks)
    for name, hook in named.items():
        if name in stored:
            hook.load_state_dict(stored[name])
        elif hook.state_dict():
            logger.warning("the checkpoint knows nothing of the hook %s, which starts anew", name)
    for name, part in stored.items():
        if name not in named and part:
            logger.warning("the checkpoint has a state of the hook %s, which this run does not have", name)
