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
    """Scores the encoder every ``period`` epochs and after the last, and remembers a selected epoch beside it.

    The headline number is the last epoch's unless ``select`` says otherwise:

    - "last": the last epoch. The best epoch on the test set is recorded too, under that name.
    - "best_test": the best epoch on the test set, chosen with test labels; the log says so.
    - "label_free": the epoch with the best clustering (see ``evaluation/selection.py``); no label is read.
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
        self._criterion: float | None = None
        self._previous_labels: Tensor | None = None
        self._round = _selected_round(select)

    @property
    def rule(self) -> str:
        """How the epoch of ``best_results`` is chosen."""
        return "best_test" if self.select == "last" else self.select

    def before_train(self) -> None:
        if self.initial and self.evaluate is not None and self.trainer.state.global_step == 0:
            self.initial_results = self._run()

    def after_label(self, clustering: Clustering, plan: RoundPlan) -> None:
        if self.trainer.state.round < 0 or clustering.features is None or self.select != "label_free":
            return
        # The labelling of a round judges the encoder that made it: the one the epoch before ended with.
        score = label_free_score(clustering.features, clustering.labels, self._previous_labels)
        self.trainer.storage.put_scalar("select/label_free", score)
        self._criterion = score
        self._previous_labels = clustering.labels

    def after_epoch(self) -> None:
        trainer, state = self.trainer, self.trainer.state
        last = state.epoch >= trainer.max_epochs
        chosen_round = self._round is not None and trainer.plan is None and state.round == self._round + 1
        if self.evaluate is not None and (last or chosen_round or (self.period and state.epoch % self.period == 0)):
            self.last_results = {"epoch": state.epoch, **self._run()}
        value = self._value(chosen_round)
        self.new_best = value is not None and (self._best is None or value > self._best)
        if self.new_best:
            self._best = value
            scores = self.last_results if self.last_results.get("epoch") == state.epoch else {"epoch": state.epoch}
            self.best_results = {"selected_by": self.rule, "criterion": value, **scores}

    def _value(self, chosen_round: bool) -> float | None:
        """What the epoch that just ended is worth under the rule; None: it is no candidate."""
        if self._round is not None:
            return 1.0 if chosen_round else None
        if self.select == "label_free":
            value, self._criterion = self._criterion, None
            return value
        if self.last_results.get("epoch") != self.trainer.state.epoch:
            return None
        return mean_map(self.last_results)

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
            "criterion": self._criterion,
            "labels": self._previous_labels,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.last_results, self.best_results = state["last"], state["best"]
        self.initial_results = state["initial"]
        self._best, self._criterion = state["value"], state["criterion"]
        self._previous_labels = state["labels"]


def mean_map(results: dict[str, Any]) -> float:
    """Mean mAP over the test sets of one evaluation, in percent."""
    scores = [value["mAP"] for value in results.values() if isinstance(value, dict)]
    return sum(scores) / len(scores)


def _selected_round(select: str) -> int | None:
    return int(select.removeprefix("round:")) if select.startswith("round:") else None
