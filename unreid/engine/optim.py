"""The optimiser, and the learning rate as a function of the epoch; both are names that a config chooses."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from unreid.utils.errors import UserError
from unreid.utils.registry import Registry
from unreid.utils.settings import settings

if TYPE_CHECKING:
    from unreid.config import CfgNode


Groups = list[dict[str, Any]]
"""Of parameters; each has its "lr" and "lr_mult"."""

OPTIMIZERS: Registry[Callable[[Groups, CfgNode], torch.optim.Optimizer]] = Registry("optimizer")
"""What ``OPTIM.OPT`` names: (parameter groups, config) -> optimiser."""

SCHEDULES: Registry[Callable[[float, LRSchedule], float]] = Registry("schedule")
"""What ``OPTIM.SCHED`` names: (position in epochs, the schedule's settings) -> rate, without the warm-up's factor."""


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of ``cfg.OPTIM`` over every parameter of ``model`` that requires a gradient.

    Adam's weight decay is coupled (L2 added to the gradient), as in all the published runs; AdamW's is not. It falls
    on BN layers and GeM's exponent as well. Groups carry ``lr_mult``, their factor on the schedule's rate.

    Raises:
        UserError: nothing is left to train, or an unknown optimiser.
    """
    node = cfg.OPTIM
    groups = parameter_groups(model, node.LR, node.BACKBONE_LR_MULT)
    if not groups:
        raise UserError("No parameter of the model is trained: MODEL.FREEZE_AT leaves nothing to optimise.")
    return OPTIMIZERS.get(node.OPT)(groups, cfg)


@OPTIMIZERS.register("adam")
def adam(groups: Groups, cfg: CfgNode) -> torch.optim.Optimizer:
    """Adam with coupled weight decay (L2 added to the gradient), as in all the published runs."""
    return torch.optim.Adam(groups, betas=_betas(cfg), **_common(groups, cfg))


@OPTIMIZERS.register("adamw")
def adamw(groups: Groups, cfg: CfgNode) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay."""
    return torch.optim.AdamW(groups, betas=_betas(cfg), **_common(groups, cfg))


@OPTIMIZERS.register("sgd")
def sgd(groups: Groups, cfg: CfgNode) -> torch.optim.Optimizer:
    """SGD with ``OPTIM.MOMENTUM``, Nesterov's where ``OPTIM.NESTEROV`` says so."""
    momentum = cfg.OPTIM.MOMENTUM
    nesterov = cfg.OPTIM.NESTEROV and momentum > 0
    return torch.optim.SGD(groups, momentum=momentum, nesterov=nesterov, **_common(groups, cfg))


def _betas(cfg: CfgNode) -> tuple[float, float]:
    return cfg.OPTIM.ADAM_BETA1, cfg.OPTIM.ADAM_BETA2


def _common(groups: Groups, cfg: CfgNode) -> dict[str, Any]:
    on_cuda = all(p.is_cuda for group in groups for p in group["params"])
    fast = {"fused": True} if on_cuda else {"foreach": True}
    return {"lr": cfg.OPTIM.LR, "weight_decay": cfg.OPTIM.WEIGHT_DECAY, **fast}


def parameter_groups(model: nn.Module, lr: float, backbone_lr_mult: float = 1.0) -> Groups:
    """Trained parameters as optimiser groups: one, or the backbone (``backbone.*``) and the rest where rates differ."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if backbone_lr_mult == 1.0:
        split = [(1.0, [p for _, p in trained])]
    else:
        split = [
            (backbone_lr_mult, [p for name, p in trained if name.startswith("backbone.")]),
            (1.0, [p for name, p in trained if not name.startswith("backbone.")]),
        ]
    return [{"params": params, "lr": lr * mult, "lr_mult": mult} for mult, params in split if params]


@dataclass(eq=False)
class LRSchedule:
    """Learning rate in force at a moment of the run: a pure function, so a resumed run needs no state.

    One of :data:`SCHEDULES` gives the rate; during the warm-up it is multiplied by the factor of :meth:`warmup`.

    Args:
        sched: a name of :data:`SCHEDULES`.
        epochs: length of the run, the end of the cosine.
        steps: period or milestones, in epochs.
        warmup_epochs, warmup_factor, warmup_method, warmup_version, warmup_lr_factor: see :meth:`warmup`.

    Example:
        >>> schedule = LRSchedule(0.1, "step", epochs=30, steps=[10])
        >>> [round(schedule(epoch), 6) for epoch in (0, 9, 10, 25)]
        [0.1, 0.1, 0.01, 0.001]
    """

    lr: float
    sched: str = "step"
    _: KW_ONLY
    epochs: int
    steps: Sequence[int] = (20,)
    gamma: float = 0.1
    min_lr: float = 0.0
    warmup_epochs: int = 0
    warmup_factor: float = 0.1
    warmup_method: str = "linear"
    warmup_version: str = "v1"
    warmup_lr_factor: float = 1.0

    def __post_init__(self) -> None:
        self.shape, self.steps = SCHEDULES.get(self.sched), tuple(self.steps)
        steps = list(self.steps)
        if self.shape is step and (len(steps) != 1 or steps[0] < 1):
            raise UserError(f"OPTIM.SCHED step takes one period in OPTIM.STEPS, not {steps}: use multistep.")
        if self.shape is multistep and steps != sorted(steps):
            raise UserError(f"The milestones OPTIM.STEPS must ascend, unlike {steps}.")

    @classmethod
    def from_config(cls, cfg: CfgNode, *, epochs: int | None = None) -> LRSchedule:
        """The schedule of ``cfg.OPTIM``; ``epochs`` replaces ``OPTIM.EPOCHS`` where a method fixes the length."""
        given = settings(cfg.OPTIM, *(field.name.upper() for field in fields(cls)))
        return cls(**(given if epochs is None else given | {"epochs": epochs}))

    def __call__(self, epoch: float) -> float:
        """Rate at position ``epoch`` of the run (3.5: half of the fourth epoch is done)."""
        return self.shape(epoch, self) * self.warmup(math.floor(epoch))

    def warmup(self, epoch: int) -> float:
        """Factor of the warm-up in whole epoch ``epoch``, 1 from ``warmup_epochs`` on; the two versions are 3C's.

        ``linear``: ``f * (1 - a) + a`` with f the ``warmup_factor``; ``a = e / W`` in v1, ``(e + 1) / W`` (0 at e = 0)
        in v2. ``constant``: f throughout. v2 multiplies either by ``warmup_lr_factor``.
        """
        if epoch >= self.warmup_epochs:
            return 1.0
        factor = self.warmup_factor
        if self.warmup_method == "linear":
            done = epoch + 1 if self.warmup_version == "v2" and epoch > 0 else epoch
            alpha = done / self.warmup_epochs
            factor = self.warmup_factor * (1.0 - alpha) + alpha
        return factor * (self.warmup_lr_factor if self.warmup_version == "v2" else 1.0)


@SCHEDULES.register("step")
def step(epoch: float, schedule: LRSchedule) -> float:
    """Times ``gamma`` after every ``steps[0]`` epochs since the warm-up."""
    drops = max(0, math.floor(epoch) - schedule.warmup_epochs) // schedule.steps[0]
    return schedule.lr * schedule.gamma**drops


@SCHEDULES.register("multistep")
def multistep(epoch: float, schedule: LRSchedule) -> float:
    """Times ``gamma`` at every milestone of ``steps``, epochs counted from the start of the run."""
    return schedule.lr * schedule.gamma ** bisect_right(schedule.steps, math.floor(epoch))


@SCHEDULES.register("cosine")
def cosine(epoch: float, schedule: LRSchedule) -> float:
    """From ``lr`` after the warm-up down to ``min_lr`` at the end, moving with every step of an epoch."""
    span = max(1, schedule.epochs - schedule.warmup_epochs)
    progress = min(max(epoch - schedule.warmup_epochs, 0.0) / span, 1.0)
    return schedule.min_lr + 0.5 * (schedule.lr - schedule.min_lr) * (1.0 + math.cos(math.pi * progress))


@SCHEDULES.register("constant")
def constant(epoch: float, schedule: LRSchedule) -> float:
    """``lr`` throughout."""
    return schedule.lr
