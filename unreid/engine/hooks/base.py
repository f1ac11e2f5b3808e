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
                epoch_trained  # the epoch's training is done: it is checked and saved
                after_epoch    # then it is scored and reported; also by a run that goes on from what was saved
        after_train            # always, also after an error or a stop signal

    ``trainer`` is set before the first call. ``trainer.state`` counts what is *finished*: in ``epoch_trained`` and
    ``after_epoch`` the epoch that just ended is already counted, so ``state.epoch == 1`` after the first. A stop that
    was requested during the epoch's training skips its ``after_epoch``, which the resumed run makes up for.
    """

    trainer: Trainer

    def before_train(self) -> None: ...

    def after_label(self, clustering: Clustering, plan: RoundPlan) -> None: ...

    def before_epoch(self) -> None: ...

    def after_step(self, output: StepOutput) -> None: ...

    def epoch_trained(self) -> None: ...

    def after_epoch(self) -> None: ...

    def after_train(self) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know; plain numbers, strings and tensors only."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...
