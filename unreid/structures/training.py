"""How a round is trained: the plan, a step's place in the run, and what the step gives."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from unreid.structures.clustering import Clustering

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class RoundPlan:
    """How the engine trains on a :class:`Clustering`.

    Attributes:
        targets: int64 (N,) on CPU over the full training list; -1 is left out of training.
        epochs: epochs of this round.
        iters: optimiser steps per epoch; 0 means one pass over the sampler.
        optimizer: "keep" the optimiser and its state, or "rebuild" it for this round.
        lr: learning rate of the round, or None to follow the run's schedule.
        lr_milestones: epochs of the round from which ``lr`` is divided by ten (once each).
        sampler: name of the sampler, or None for ``DATALOADER.SAMPLER.NAME``.
        batch_size: samples of a step over all processes, or None for ``DATALOADER.TRAIN_BATCH_SIZE``.
    """

    targets: Tensor
    epochs: int
    iters: int
    optimizer: str = "keep"
    lr: float | None = None
    lr_milestones: tuple[int, ...] = ()
    sampler: str | None = None
    batch_size: int | None = None

    def suited_to(self, clustering: Clustering) -> RoundPlan:
        """This plan; shuffled where every sample is its own cluster: no sampler of groups finds a pair there."""
        if clustering.num_clusters == len(clustering.labels):
            return replace(self, sampler="shuffle")
        return self


@dataclass(frozen=True)
class Position:
    """Where in the run a step stands; all counters start at 0.

    Attributes:
        round, epoch: since the start of the run.
        epochs: planned epochs of the whole run.
        step, iters: step within the epoch, and steps of that epoch.
        global_step: optimiser steps since the start of the run.
    """

    round: int
    epoch: int
    epochs: int
    step: int
    iters: int
    global_step: int

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1): t / T of the papers."""
        return (self.epoch + self.step / max(self.iters, 1)) / max(self.epochs, 1)


@dataclass
class StepOutput:
    """Result of one training step.

    Attributes:
        losses: name -> scalar tensor, already weighted: their sum is what is differentiated.
        cache: what ``after_step`` needs (detached features, targets, ...).
        scalars: name -> scalar tensor, logged only.
    """

    losses: dict[str, Tensor]
    cache: Any = None
    scalars: dict[str, Tensor] = field(default_factory=dict)
