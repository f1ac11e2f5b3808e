"""Evaluates during training and selects a model."""

from __future__ import annotations

import logging
from typing import Any

from torch import Tensor

from unreid.engine.hooks.base import HOOKS, Evaluate, Hook, Run
from unreid.evaluation.selection import label_free_score
from unreid.structures import Clustering, RoundPlan
from unreid.utils.distributed import from_main
from unreid.utils.state import StateError, entries, require, require_labels

logger = logging.getLogger(__name__)


@HOOKS.register("Evaluation")
class EvaluationHook(Hook):
    """Scores the encoder every ``period`` epochs and after the last, and remembers a selected epoch beside it.

    The headline number is the last epoch's unless ``select`` says otherwise:

    - "last": the last epoch. The best epoch on the test set is recorded too, under that name.
    - "best_test": the best epoch on the test set, chosen with test labels; the log says so.
    - "label_free": the epoch whose encoder clusters best (see ``evaluation/selection.py``); no label is read. The
      encoder after the last epoch labels nothing any more and is no candidate.
    - "round:N": the end of round N, fixed before training (BUC).

    Args:
        evaluate: scores an encoder, or None when there is nothing to evaluate on.
        initial: score the untrained network too.
    """

    def __init__(self, evaluate: Evaluate | None, *, period: int, select: str, initial: bool = False) -> None:
        self.evaluate = evaluate
        self.period = period
        self.select = select
        self.initial = initial
        self.last_results: dict[str, Any] = {}
        self.best_results: dict[str, Any] = {}
        self.initial_results: dict[str, Any] = {}
        self.new_best = False
        self._best: float | None = None
        self._previous_labels: Tensor | None = None
        self._round = int(select.removeprefix("round:")) if select.startswith("round:") else None

    @classmethod
    def from_run(cls, run: Run) -> Hook:
        test = run.cfg.TEST
        return cls(run.evaluate, period=test.EVAL_PERIOD, select=test.SELECT, initial=test.EVAL_START)

    @property
    def rule(self) -> str:
        """How the epoch of ``best_results`` is chosen."""
        return "best_test" if self.select == "last" else self.select

    def before_train(self) -> None:
        if self.initial and self.evaluate is not None and self.trainer.state.global_step == 0:
            self.initial_results = self._run()

    def after_label(self, clustering: Clustering, plan: RoundPlan) -> None:
        """Labels judge the encoder that made them: the one the last epoch ended with, before this round's training."""
        self.new_best = False
        if self.trainer.state.round < 0 or clustering.features is None or self.select != "label_free":
            return
        features, labels = clustering.features, clustering.labels
        score = from_main(lambda: label_free_score(features, labels, self._previous_labels))
        self.trainer.storage.put_scalar("select/label_free", score)
        self._previous_labels = clustering.labels
        if self._best is None or score > self._best:
            if self.evaluate is not None and self.last_results.get("epoch") != self.trainer.state.epoch:
                self.last_results = {"epoch": self.trainer.state.epoch, **self._run()}
            self._take(score)

    def after_epoch(self) -> None:
        self.new_best = False
        trainer, state = self.trainer, self.trainer.state
        last = state.epoch >= trainer.max_epochs
        chosen_round = self._round is not None and trainer.plan is None and state.round == self._round + 1
        if self.evaluate is not None and (last or chosen_round or (self.period and state.epoch % self.period == 0)):
            self.last_results = {"epoch": state.epoch, **self._run()}
        evaluated = self.last_results.get("epoch") == state.epoch
        if chosen_round:
            self._take(None)
        elif self.rule == "best_test" and evaluated:
            score = mean_map(self.last_results)
            if self._best is None or score > self._best:
                self._take(score)

    def _take(self, score: float | None) -> None:
        """Makes the current encoder the selected one."""
        self.new_best, self._best = True, score
        epoch = self.trainer.state.epoch
        scores = self.last_results if self.last_results.get("epoch") == epoch else {"epoch": epoch}
        self.best_results = {"selected_by": self.rule, "criterion": score, **scores}

    def _run(self) -> dict[str, Any]:
        assert self.evaluate is not None
        with self.trainer.storage.phase("evaluate"):
            results = self.evaluate(self.trainer.method.encoder)
        for name, scores in results.items():
            self.trainer.storage.put_scalars(scores, prefix=f"test/{name}/")
            line = "  ".join(f"{key} {value:.1f}" for key, value in scores.items())
            logger.info("epoch %d  %s  %s", self.trainer.state.epoch, name, line)
        return results

    def state_dict(self) -> dict[str, Any]:
        return {
            "last": self.last_results,
            "best": self.best_results,
            "initial": self.initial_results,
            "value": self._best,
            "labels": self._previous_labels,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        kinds: dict[str, Any] = {"last": dict, "best": dict, "initial": dict}
        entries(state, "the scores", {**kinds, "value": object, "labels": (Tensor, type(None))})
        if state["value"] is not None and not _is_score(state["value"]):
            raise StateError("'value' of the scores is no number")
        for name in kinds:
            _check_scores(state[name], name)
        if state["last"] and not any(isinstance(value, dict) for value in state["last"].values()):
            raise StateError("'last' of the scores has no test set")
        require_labels(state["labels"], "'labels' of the scores", self.trainer.method.num_samples)
        self.last_results, self.initial_results = state["last"], state["initial"]
        self._previous_labels = state["labels"]
        if state["best"].get("selected_by") == self.rule:  # the values of two rules are no rivals
            self.best_results, self._best = state["best"], state["value"]


def mean_map(results: dict[str, Any]) -> float:
    """Mean mAP over the test sets of one evaluation, in percent."""
    scores = [value["mAP"] for value in results.values() if isinstance(value, dict)]
    return sum(scores) / len(scores)


def _check_scores(results: dict[str, Any], what: str) -> None:
    """Raises :class:`StateError` unless ``results`` is empty or an evaluation as it was stored."""
    for name, value in results.items():
        where = f"{name!r} in {what!r} of the scores"
        if name == "epoch":
            require(value, where, int)
        elif isinstance(value, dict):
            missing = {"mAP", "R1"} - value.keys()
            if missing or not all(isinstance(key, str) and _is_score(score) for key, score in value.items()):
                raise StateError(f"{where} is no table of scores")
        elif name not in ("selected_by", "criterion") or not (
            value is None or isinstance(value, str) or _is_score(value)
        ):
            raise StateError(f"{where} is no table of scores")


def _is_score(value: Any) -> bool:
    """A plain number; nan, where a test set has no valid query, is one."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
