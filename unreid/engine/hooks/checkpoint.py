"""Writes checkpoints: periodically, at the end, when a stop is requested, and the selected model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any

from unreid.engine.checkpoint import save_run
from unreid.engine.environment import recorded
from unreid.engine.folder import NUMBERED
from unreid.engine.hooks.base import HOOKS, Hook, Run
from unreid.engine.hooks.evaluation import EvaluationHook
from unreid.engine.hooks.monitoring import LossGuard
from unreid.structures import Clustering, RoundPlan, StepOutput
from unreid.utils.distributed import is_main
from unreid.utils.signals import stop_signals, stopping_later
from unreid.utils.writing import writing

logger = logging.getLogger(__name__)


@HOOKS.register("Checkpoint")
@dataclass(eq=False)
class CheckpointHook(Hook):
    """``checkpoint.pth`` (everything; the newest), ``checkpoint_NNN.pth`` (older ones), and the selected models.

    An epoch is saved before it is scored, and once more with its scores: an evaluation that fails, or is killed, costs
    no training. The hook comes after the evaluation hook.

    Args:
        evaluation: source of the scores and of the selection.
        check: raises where the state must not be saved; asked after every epoch and before a stop inside one.
        period: epochs between two checkpoints; 0: only the last.
        keep: periodic checkpoints that stay beside the newest; 0: all.
    """

    folder: Path
    _: KW_ONLY
    config: str
    evaluation: EvaluationHook
    check: Callable[[], None] = lambda: None
    period: int = 1
    keep: int = 1

    @classmethod
    def from_run(cls, run: Run) -> Hook:
        return cls(
            run.output_dir,
            config=recorded(run.cfg).dump(),
            evaluation=run.hook(EvaluationHook),
            check=run.hook(LossGuard).check,
            period=run.cfg.CHECKPOINT.PERIOD,
            keep=run.cfg.CHECKPOINT.KEEP,
        )

    @property
    def newest(self) -> Path:
        return self.folder / "checkpoint.pth"

    def after_label(self, clustering: Clustering, plan: RoundPlan) -> None:
        self._save_selected()

    def epoch_trained(self) -> None:
        self.check()
        if self._is_due():
            self._save()

    def after_epoch(self) -> None:
        scored = self.evaluation.last_results.get("epoch") == self.trainer.state.epoch
        self.trainer.state.unreported = False  # the hooks before this one have done their part, and are in the file
        # The newest checkpoint is the last: what it says is done is on the disk, also when the process is killed here.
        self._save_selected()
        if self._is_due():
            self._keep_copy()
            if scored or self.trainer.stop_reason:
                self._save()

    def _is_due(self) -> bool:
        epoch = self.trainer.state.epoch
        last = epoch >= self.trainer.max_epochs
        return bool(last or self.trainer.stop_reason or (self.period and epoch % self.period == 0))

    def _save_selected(self) -> None:
        if self.evaluation.new_best:
            self._write(self.folder / "model_best.pth", self.evaluation.best_results, whole=False)

    def after_step(self, output: StepOutput) -> None:
        # Inside an epoch only a requested stop writes; the end of an epoch is epoch_trained's.
        if self.trainer.stop_reason and self.trainer.state.step < self.trainer.iters:
            self.check()
            self._save()

    def after_train(self) -> None:
        if self.trainer.stop_reason and is_main() and self.newest.exists():
            logger.warning(
                "stopped (%s) after epoch %d, step %d; go on with: RESUME %s",
                self.trainer.stop_reason,
                self.trainer.state.epoch,
                self.trainer.state.step,
                self.newest,
            )

    def _save(self) -> None:
        self._write(self.newest, self.evaluation.last_results)
        self.trainer.saved = replace(self.trainer.state)

    def _keep_copy(self) -> None:
        """With ``keep`` other than 1, a numbered copy of a finished epoch; the oldest ones go."""
        if self.keep == 1 or not is_main():
            return
        numbered = self.folder / f"checkpoint_{self.trainer.state.epoch:03d}.pth"
        self._write(numbered, self.evaluation.last_results)
        old = sorted(self.folder.glob(NUMBERED), key=lambda path: (len(path.name), path.name))  # 999 before 1000
        for path in old[: -self.keep] if self.keep else []:
            with writing(path):
                path.unlink(missing_ok=True)

    def _write(self, path: Path, results: dict[str, Any], *, whole: bool = True) -> None:
        if is_main():
            feature = self.trainer.method.retrieval_feature
            save_run(path, self.trainer.state_dict(), self.config, results, feature, whole=whole)


@HOOKS.register("Signal")
class SignalHook(Hook):
    """SIGTERM, SIGHUP and Ctrl-C end the run, see :mod:`unreid.utils.signals`.

    At once where the newest checkpoint is as far as the run, or nothing is done yet; otherwise after the current step,
    with a checkpoint. A signal to one of several processes ends all of them.
    """

    def __init__(self) -> None:
        self._handlers = ExitStack()  # stays empty when a hook before this one fails

    def before_train(self) -> None:
        self._handlers.enter_context(stop_signals())
        self._handlers.enter_context(stopping_later(self._decide))

    def after_train(self) -> None:
        self._handlers.close()

    def _decide(self, signal_name: str) -> str | None:
        state, saved = (replace(at, unreported=False) for at in (self.trainer.state, self.trainer.saved))
        if state != saved:  # an epoch that is saved, but not reported yet, is reported when the run goes on
            self.trainer.request_stop(signal_name)
            return None
        if not state.global_step:
            return f"stopped by {signal_name} before the first step"
        return f"stopped by {signal_name} after epoch {saved.epoch}, step {saved.step}; go on with: RESUME auto"
