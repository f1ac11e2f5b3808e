"""The contract of a hook: everything that is not learning (evaluation, checkpoints, logging, progress)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from unreid.engine.training import Training
from unreid.models.embedding import EmbeddingModel
from unreid.structures import Clustering, RoundPlan, StepOutput
from unreid.utils.registry import Registry

if TYPE_CHECKING:  # hooks alone need no config system
    from unreid.config import CfgNode
    from unreid.engine.data import Data, Extraction

Evaluate = Callable[[nn.Module], dict[str, dict[str, float]]]
"""encoder -> test set name -> {"mAP", "R1", "R5", "R10"} in percent."""

H = TypeVar("H", bound="Hook")


@dataclass(frozen=True)
class Run:
    """What a training and an evaluation of one config have in common, put together; hooks are built from it.

    Attributes:
        output_dir: folder of the run, which may not exist yet; a hook writes from ``before_train`` on.
        data: training list (empty in an evaluation), its truth (for diagnostics only) and test sets.
        model: the bare student, or the network that is evaluated.
        extraction: features of a list of samples.
        evaluate: scores an encoder on the test sets, or None without any.
        earlier: while hooks are built, those that are called before the next one.
    """

    cfg: CfgNode
    output_dir: Path
    device: torch.device
    data: Data
    model: EmbeddingModel
    extraction: Extraction
    feature: str
    evaluate: Evaluate | None
    earlier: tuple[Hook, ...] = ()

    def hook(self, kind: type[H]) -> H:
        """The hook of that class that is called before this one."""
        return next(hook for hook in self.earlier if isinstance(hook, kind))


class Hook:
    """Called by the trainer in this order; a hook sees what the hooks before it wrote::

        before_train
        for each round:
            after_label(clustering, plan)
            for each epoch:
                before_epoch
                for each step: after_step(output)
                epoch_trained  # the epoch's training is done: it is checked and saved
                after_epoch    # then it is scored and reported; also by a run that goes on from what was saved
        after_train            # always, also after an error or a stop signal
        after_results          # of a finished run: everything is saved and ``results.json`` is written

    ``trainer`` is set before the first call. ``trainer.state`` counts what is *finished*: in ``epoch_trained`` and
    ``after_epoch`` the epoch that just ended is already counted, so ``state.epoch == 1`` after the first. A stop that
    was requested during the epoch's training skips its ``after_epoch``, which the resumed run makes up for.
    """

    trainer: Training

    @classmethod
    def from_run(cls, run: Run) -> Hook:
        """The hook of a run, for hooks that a config names."""
        return cls()

    def before_train(self) -> None: ...

    def after_label(self, clustering: Clustering, plan: RoundPlan) -> None: ...

    def before_epoch(self) -> None: ...

    def after_step(self, output: StepOutput) -> None: ...

    def epoch_trained(self) -> None: ...

    def after_epoch(self) -> None: ...

    def after_train(self) -> None: ...

    def after_results(self) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know; plain numbers, strings and tensors only."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


HOOKS: Registry[type[Hook]] = Registry("hook")
