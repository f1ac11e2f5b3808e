"""When the encoder is scored, and which epoch is selected by which rule."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from tests.engine.scripted import LABELS, Log, N, Script, Scripted
from unreid.engine.hooks import EvaluationHook
from unreid.engine.trainer import Trainer

CURVE = [10.0, 30.0, 20.0, 30.0, 25.0, 5.0]  # mAP after epoch 1, 2, ...


class Scores:
    """Scores by the epoch that is done; two test sets, the second ten better."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.trainer: Trainer | None = None

    def __call__(self, encoder: nn.Module) -> dict[str, dict[str, float]]:
        assert self.trainer is not None and encoder is self.trainer.method.encoder
        epoch = self.trainer.state.epoch
        self.asked.append(epoch)
        value = CURVE[epoch - 1] if epoch else 1.0
        return {"A": {"mAP": value, "R1": 2.0}, "B": {"mAP": value + 10, "R1": 3.0}}


class NewBests(Log):
    """Epochs after which there was a new selected model."""

    def __init__(self, evaluation: EvaluationHook) -> None:
        super().__init__()
        self.evaluation = evaluation
        self.epochs: list[int] = []

    def after_epoch(self) -> None:
        if self.evaluation.new_best:
            self.epochs.append(self.trainer.state.epoch)


def evaluated(
    select: str, *, period: int = 1, initial: bool = False, epochs: int = 6, epochs_a_round: int = 1
) -> tuple[EvaluationHook, Scores, NewBests, Script]:
    """A whole run of ``epochs`` epochs."""
    scores = Scores()
    hook = EvaluationHook(scores, period=period, select=select, initial=initial)
    bests = NewBests(hook)
    method = Scripted([LABELS], epochs=epochs, iters=1)
    method.plan_options["epochs"] = epochs_a_round
    script = Script(method, hooks=[hook, bests])
    scores.trainer = script.trainer
    script.trainer.train()
    return hook, scores, bests, script


@pytest.mark.parametrize(
    ("period", "asked"), [(1, [1, 2, 3, 4, 5, 6]), (2, [2, 4, 6]), (4, [4, 6]), (5, [5, 6]), (0, [6]), (9, [6])]
)
def test_every_period_and_always_the_last_epoch(period: int, asked: list[int]) -> None:
    hook, scores, _, _ = evaluated("last", period=period)
    assert scores.asked == asked
    assert hook.last_results["epoch"] == 6 and hook.last_results["A"]["mAP"] == 5.0


@pytest.mark.parametrize("select", ["last", "best_test"])
def test_the_best_epoch_is_the_first_of_equals_and_says_how_it_was_chosen(select: str) -> None:
    hook, _, bests, _ = evaluated(select)
    best = hook.best_results
    assert (best["epoch"], best["selected_by"], best["A"]["mAP"]) == (2, "best_test", 30.0)
    assert best["criterion"] == 35.0, "the mean over the test sets"
    assert bests.epochs == [1, 2], "the model is written when it is new, and only then"


def test_epochs_that_are_not_scored_are_no_candidates() -> None:
    hook, _, bests, _ = evaluated("best_test", period=3)
    assert hook.best_results["epoch"] == 3 and bests.epochs == [3]


@pytest.mark.parametrize(("number", "epoch"), [(0, 2), (1, 4), (2, 6)])
@pytest.mark.parametrize("period", [0, 1])
def test_round_n_is_the_end_of_round_n(number: int, epoch: int, period: int) -> None:
    """Rounds of two epochs, counted from 0: round 1 ends with epoch 4."""
    hook, scores, bests, _ = evaluated(f"round:{number}", period=period, epochs_a_round=2)
    assert bests.epochs == [epoch] and epoch in scores.asked
    best = hook.best_results
    assert (best["epoch"], best["selected_by"]) == (epoch, f"round:{number}")
    assert best["A"]["mAP"] == CURVE[epoch - 1]


def test_the_untrained_network_is_scored_before_training_and_not_again_after_a_resume() -> None:
    hook, scores, _, script = evaluated("last", period=0, initial=True, epochs=1)
    assert scores.asked == [0, 1] and hook.initial_results["A"]["mAP"] == 1.0
    again = Scores()
    other = EvaluationHook(again, period=0, select="last", initial=True)
    resumed = Script(Scripted([LABELS], epochs=2, iters=1), hooks=[other])
    again.trainer = resumed.trainer
    resumed.trainer.load_state_dict(script.trainer.state_dict())
    resumed.trainer.train()
    assert again.asked == [2] and other.initial_results == hook.initial_results


def test_a_resumed_run_compares_with_the_best_before_the_stop() -> None:
    hook, _, _, script = evaluated("best_test", epochs=2)
    state = script.trainer.state_dict()
    again = Scores()
    other = EvaluationHook(again, period=1, select="best_test")
    resumed = Script(Scripted([LABELS], epochs=6, iters=1), hooks=[other])
    again.trainer = resumed.trainer
    resumed.trainer.load_state_dict(state)
    resumed.trainer.train()
    assert again.asked == [3, 4, 5, 6] and other.best_results == hook.best_results


def test_without_a_test_set_nothing_is_asked() -> None:
    hook = EvaluationHook(None, period=1, select="best_test", initial=True)
    Script(hooks=[hook]).trainer.train()
    assert hook.last_results == {} == hook.best_results == hook.initial_results


# ------------------------------------------------------------------------------------------------ label-free


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], list[int] | None]]:
    """(labels, previous labels) of every judgement; the criterion is the number of clusters."""
    asked: list[tuple[list[int], list[int] | None]] = []

    def score(features: Any, labels: Any, previous: Any, **options: Any) -> float:
        asked.append((labels.tolist(), None if previous is None else previous.tolist()))
        return float(labels.max()) + 1

    monkeypatch.setattr("unreid.engine.hooks.evaluation.label_free_score", score)
    return asked


TWO, THREE = list(LABELS), [0, 0, 1, 1, 2, 2]


def test_the_criterion_judges_the_encoder_that_made_the_labels(judged: list[Any]) -> None:
    scores = Scores()
    hook = EvaluationHook(scores, period=0, select="label_free")
    seen: list[tuple[int, bool]] = []

    class Watch(Log):
        def after_label(self, clustering: Any, plan: Any) -> None:
            seen.append((self.trainer.state.epoch, hook.new_best))

    script = Script(Scripted([TWO, THREE, TWO, THREE], epochs=4, iters=1), hooks=[hook, Watch()])
    scores.trainer = script.trainer
    script.trainer.train()
    assert judged == [(TWO, None), (THREE, TWO), (TWO, THREE), (THREE, TWO)]
    assert seen == [(0, True), (1, True), (2, False), (3, False)]
    assert hook.best_results["epoch"] == 1 and hook.best_results["selected_by"] == "label_free"
    assert hook.best_results["criterion"] == 3.0 and hook.best_results["A"]["mAP"] == 10.0
    assert scores.asked == [0, 1, 4], "candidates and the last epoch"
    assert not hook.new_best, "the end of an epoch selects nothing"


def test_warm_up_and_other_rules_are_not_judged(judged: list[Any]) -> None:
    warmup = Scripted([list(range(N))])
    hook = EvaluationHook(None, period=0, select="label_free")
    Script(Scripted([TWO], epochs=2, iters=1), warmup=warmup, hooks=[hook]).trainer.train()
    assert len(judged) == 1
    Script(hooks=[EvaluationHook(None, period=0, select="last")]).trainer.train()
    assert len(judged) == 1


def test_a_resumed_run_judges_against_the_labels_before_the_stop(judged: list[Any]) -> None:
    first = Script(Scripted([THREE], epochs=1, iters=1), hooks=[EvaluationHook(None, period=0, select="label_free")])
    first.trainer.train()
    hook = EvaluationHook(None, period=0, select="label_free")
    resumed = Script(Scripted([THREE, TWO], epochs=2, iters=1), hooks=[hook])
    resumed.trainer.load_state_dict(first.trainer.state_dict())
    resumed.trainer.train()
    assert judged[1:] == [(TWO, THREE)]
    assert hook.best_results["epoch"] == 0


def test_a_resumed_run_with_another_rule_chooses_anew(judged: list[Any]) -> None:
    """A best mAP of 35 would beat every label-free score; the rules best_test and last are one."""
    _, _, _, first = evaluated("best_test", epochs=2)
    for select, selected_by in (("label_free", "label_free"), ("last", "best_test")):
        hook = EvaluationHook(None, period=0, select=select)
        resumed = Script(Scripted([TWO, THREE], epochs=4, iters=1), hooks=[hook])
        resumed.trainer.load_state_dict(first.trainer.state_dict())
        resumed.trainer.train()
        assert hook.best_results["selected_by"] == selected_by
        assert hook.best_results["epoch"] == 2
