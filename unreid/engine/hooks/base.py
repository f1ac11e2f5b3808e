"""The contract of a hook: everything that is not learning (evaluation, checkpoints, logging, progress)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unreid.structures import Clustering, RoundPlan, StepOutput

if TYPE_CHECKING:
    from unreid.engine.trainer import Trainer


class Hook:
    """Called by the trainer in this order; a hook sees what the hooks before it wrote::

        before_train
        for each round:
            after_label(clustering, plan)
            for each epoch:
                before_epoch
                for each step: after_step(output)
                after_epoch
        after_train            # always, also after an error or a stop signal

    ``trainer`` is set before the first call. ``trainer.state`` counts what is *finished*: in ``after_epoch`` the epoch
    that just ended is already counted, so ``state.epoch == 1`` after the first.
    """

    trainer: Trainer

    def before_train(self) -> None: ...

    def after_label(self, clustering: Clustering, plan: RoundPlan) -> None: ...

    def before_epoch(self) -> None: ...

    def after_step(self, output: StepOutput) -> None: ...

    def after_epoch(self) -> None: ...

    def after_train(self) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know; plain numbers, strings and tensors only."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...
