"""The optimiser, and the learning rate as a function of the epoch."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from unreid.utils.errors import UserError

if TYPE_CHECKING:
    from unreid.config import CfgNode


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
    on_cuda = all(p.is_cuda for group in groups for p in group["params"])
    fast: dict[str, Any] = {"fused": True} if on_cuda else {"foreach": True}
    common: dict[str, Any] = {"lr": node.LR, "weight_decay": node.WEIGHT_DECAY, **fast}
    betas = (node.ADAM_BETA1, node.ADAM_BETA2)
    if node.OPT == "adam":
        return torch.optim.Adam(groups, betas=betas, **common)
    if node.OPT == "adamw":
        return torch.optim.AdamW(groups, betas=betas, **common)
    if node.OPT == "sgd":
        return torch.optim.SGD(groups, momentum=node.MOMENTUM, nesterov=node.NESTEROV and node.MOMENTUM > 0, **common)
    raise UserError(f"OPTIM.OPT is adam, adamw or sgd, not {node.OPT!r}.")


def parameter_groups(model: nn.Module, lr: float, backbone_lr_mult: float = 1.0) -> list[dict[str, Any]]:
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


class LRSchedule:
    """Learning rate in force at a moment of the run: a pure function, so a resumed run needs no state.

    With W warm-up epochs and ``e`` the whole epochs done:

    - ``step``: ``gamma ^ n`` with n the periods ``steps[0]`` completed since epoch W;
    - ``multistep``: n counts the milestones ``steps`` that are <= e (counted from the start of the run);
    - ``cosine``: from 1 at epoch W down to ``min_lr`` at the end, moving with every step of an epoch;
    - ``constant``: 1.

    During the warm-up (``e < W``) this is multiplied by the factor of :meth:`warmup`.

    Args:
        lr: base learning rate.
        sched: "step", "multistep", "cosine" or "constant".
        epochs: length of the run, the end of the cosine.
        steps: period or milestones, in epochs.
        gamma: factor of a step.
        min_lr: end of the cosine.
        warmup_epochs, warmup_factor, warmup_method, warmup_version, warmup_lr_factor: see :meth:`warmup`.

    Example:
        >>> schedule = LRSchedule(0.1, "step", epochs=30, steps=[10])
        >>> [round(schedule(epoch), 6) for epoch in (0, 9, 10, 25)]
        [0.1, 0.1, 0.01, 0.001]
    """

    def __init__(
        self,
        lr: float,
        sched: str = "step",
        *,
        epochs: int,
        steps: Sequence[int] = (20,),
        gamma: float = 0.1,
        min_lr: float = 0.0,
        warmup_epochs: int = 0,
        warmup_factor: float = 0.1,
        warmup_method: str = "linear",
        warmup_version: str = "v1",
        warmup_lr_factor: float = 1.0,
    ) -> None:
        _one_of("sched", sched, ("step", "multistep", "cosine", "constant"))
        _one_of("warmup_method", warmup_method, ("linear", "constant"))
        _one_of("warmup_version", warmup_version, ("v1", "v2"))
        if sched == "step" and (len(steps) != 1 or steps[0] < 1):
            raise UserError(f"OPTIM.SCHED step takes one period in OPTIM.STEPS, not {list(steps)}: use multistep.")
        if sched == "multistep" and list(steps) != sorted(steps):
            raise UserError(f"The milestones OPTIM.STEPS must ascend, unlike {list(steps)}.")
        self.lr = lr
        self.sched = sched
        self.epochs = epochs
        self.steps = tuple(steps)
        self.gamma = gamma
        self.min_lr = min_lr
        self.warmup_epochs = warmup_epochs
        self.warmup_factor = warmup_factor
        self.warmup_method = warmup_method
        self.warmup_version = warmup_version
        self.warmup_lr_factor = warmup_lr_factor

    @classmethod
    def from_config(cls, cfg: CfgNode, *, epochs: int | None = None) -> LRSchedule:
        """The schedule of ``cfg.OPTIM``; ``epochs`` replaces ``OPTIM.EPOCHS`` where a method fixes the length."""
        node = cfg.OPTIM
        return cls(
            node.LR,
            node.SCHED,
            epochs=node.EPOCHS if epochs is None else epochs,
            steps=node.STEPS,
            gamma=node.GAMMA,
            min_lr=node.MIN_LR,
            warmup_epochs=node.WARMUP_EPOCHS,
            warmup_factor=node.WARMUP_FACTOR,
            warmup_method=node.WARMUP_METHOD,
            warmup_version=node.WARMUP_VERSION,
            warmup_lr_factor=node.WARMUP_LR_FACTOR,
        )

    def __call__(self, epoch: float) -> float:
        """Rate at position ``epoch`` of the run (3.5: half of the fourth epoch is done)."""
        whole = math.floor(epoch)
        if self.sched == "cosine":
            span = max(1, self.epochs - self.warmup_epochs)
            progress = min(max(epoch - self.warmup_epochs, 0.0) / span, 1.0)
            rate = self.min_lr + 0.5 * (self.lr - self.min_lr) * (1.0 + math.cos(math.pi * progress))
        elif self.sched == "constant":
            rate = self.lr
        else:
            rate = self.lr * self.gamma ** self._drops(whole)
        return rate * self.warmup(whole)

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

    def _drops(self, epoch: int) -> int:
        if self.sched == "step":
            return max(0, epoch - self.warmup_epochs) // self.steps[0]
        return bisect_right(self.steps, epoch)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is one of {', '.join(allowed)}, not {value!r}")
