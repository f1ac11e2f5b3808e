"""Evaluates during training and selects a model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from unreid.engine.hooks.base import Hook
from unreid.evaluation.selection import label_free_score
from unreid.structures import Clustering, RoundPlan

logger = logging.getLogger(__name__)

Evaluate = Callable[[nn.Module], dict[str, dict[str, float]]]
"""encoder -> test set name -> {"mAP", "R1", "R5", "R10"} in percent."""


class EvaluationHook(Hook):
    """Scores the encoder every ``period`` epochs and after the last.

    The headline number is the last epoch's unless ``select`` says otherwise; the best epoch on the test set is always
    recorded under that name, because it was chosen with test labels.

    Args:
        evaluate: scores an encoder, or None when there is nothing to evaluate on.
        select: "last", "best_test" or "label_free".
        initial: evaluate the untrained network too.
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
        self._criterion: float | None = None
        self._best: float | None = None
        self._previous_labels: Tensor | None = None

    def before_train(self) -> None:
        if self.initial and self.evaluate is not None and self.trainer.state.global_step == 0:
            self.initial_results = self._run()

    def after_label(self, clustering: Clustering, plan: RoundPlan) -> None:
        if self.trainer.state.round < 0 or clustering.features is None:
            return
        # The labels of a round judge the encoder that made them, which is the one before this epoch's training.
        if self.select == "label_free":
            self._criterion = label_free_score(clustering.features, clustering.labels, self._previous_labels)
            self.trainer.storage.put_scalar("select/label_free", self._criterion)
        self._previous_labels = clustering.labels

    def after_epoch(self) -> None:
        self.new_best = False
        state = self.trainer.state
        last = state.epoch >= self.trainer.max_epochs
        due = last or bool(self.period and state.epoch % self.period == 0)
        if due and self.evaluate is not None:
            self.last_results = {"epoch": state.epoch, **self._run()}
        criterion = self._selection_value(due)
        if criterion is not None and (self._best is None or criterion > self._best):
            self._best, self.new_best = criterion, True
            self.best_results = {"selected_by": self.select, "criterion": criterion, **self.last_results}

    def _selection_value(self, evaluated: bool) -> float | None:
        if self.select == "label_free":
            criterion, self._criterion = self._criterion, None
            return criterion
        if not evaluated or self.evaluate is None:
            return None
        return mean_map(self.last_results)

    def _run(self) -> dict[str, Any]:
        assert self.evaluate is not None
        with self.trainer.storage.phase("evaluate"):
            results = self.evaluate(self.trainer.method.encoder)
        for name, scores in results.items():
            self.trainer.storage.put_scalars({f"test/{name}/{key}": value for key, value in scores.items()})
            logger.info(
                "epoch %d  %s  %s",
                self.trainer.state.epoch,
                name,
                "  ".join(f"{key} {value:.1f}" for key, value in scores.items()),
            )
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
        self.last_results, self.best_results = state["last"], state["best"]
        self.initial_results = state["initial"]
        self._best, self._previous_labels = state["value"], state["labels"]


def mean_map(results: dict[str, Any]) -> float:
    """Mean mAP over the test sets of one evaluation, in percent."""
    scores = [value["mAP"] for value in results.values() if isinstance(value, dict)]
    return sum(scores) / len(scores)
