"""Scalars, progress, and the guard against diverged losses."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine.scripted import LABELS, Script, Scripted
from unreid.engine.hooks import DivergedError, Hook, LossGuard, ProgressHook, ScalarHook
from unreid.structures import StepOutput
from unreid.utils.events import Events

NAN, INF = float("nan"), float("inf")


def guard(period: int = 1) -> LossGuard:
    found = LossGuard(period=period, checkpoint="run/checkpoint.pth")
    found.trainer = SimpleNamespace(state=SimpleNamespace(global_step=0, epoch=0))  # type: ignore[assignment]
    return found


def output(**losses: float) -> StepOutput:
    return StepOutput({name: torch.tensor(value) for name, value in losses.items()})


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_one_bad_loss_among_good_ones_stops_the_run_and_is_named_alone(bad: float) -> None:
    found = guard()
    found.trainer.state.global_step = 41
    found.after_step(output(first=1.0, second=2.0))
    found.trainer.state.global_step = 42
    with pytest.raises(DivergedError, match=r"Loss second is not finite at step 42\b"):
        found.after_step(output(first=1.0, second=bad, third=0.0))


def test_all_bad_losses_are_named() -> None:
    with pytest.raises(DivergedError, match="Loss first, second is not finite"):
        guard().after_step(output(first=NAN, second=INF))


def test_finite_losses_of_any_size_pass() -> None:
    found = guard()
    for value in (0.0, -5.0, 3e38):
        found.after_step(output(first=value))
    end_epoch(found)


def end_epoch(hook: Hook) -> None:
    """Whatever a hook does when an epoch is trained."""
    for name in ("epoch_trained", "after_epoch"):
        getattr(hook, name, lambda: None)()


class OnDevice(LossGuard):
    """Losses that are not on a CPU: nothing is read between two periods."""

    def after_step(self, output: StepOutput) -> None:
        elsewhere = SimpleNamespace(type="cuda")
        original = torch.stack
        try:
            torch.stack = lambda parts: _Elsewhere(original(parts), elsewhere)  # type: ignore[assignment]
            super().after_step(output)
        finally:
            torch.stack = original


class _Elsewhere(Tensor):
    """A CPU tensor that says that it is on another device."""

    @staticmethod
    def __new__(cls: Any, value: Tensor, device: Any) -> Any:
        self = Tensor._make_subclass(cls, value)
        self._place = device
        return self

    @property
    def device(self) -> Any:  # type: ignore[override]
        return getattr(self, "_place", torch.device("cpu"))


@pytest.mark.parametrize("by", ["period", "epoch"])
def test_on_a_gpu_the_first_bad_step_is_named_when_it_is_read(by: str) -> None:
    found = OnDevice(period=4, checkpoint="c")
    found.trainer = SimpleNamespace(state=SimpleNamespace(global_step=0, epoch=0))  # type: ignore[assignment]
    for step in (1, 2, 3):
        found.trainer.state.global_step = step
        found.after_step(output(first=1.0 if step < 2 else NAN))
    with pytest.raises(DivergedError, match="at step 2;"):
        if by == "epoch":
            end_epoch(found)
        else:
            found.trainer.state.global_step = 4
            found.after_step(output(first=NAN))


# --------------------------------------------------------------------------------------------------- scalars


class Rows:
    """A writer that keeps everything."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.closed = 0

    def write(self, events: Events) -> None:
        self.rows.append((events.step, dict(events.scalars)))

    def close(self) -> None:
        self.closed += 1


def test_scalars_are_means_over_a_period_and_counts_of_the_round() -> None:
    rows = Rows()
    labels = [0, 0, 1, 1, 1, -1]
    script = Script(Scripted([labels], epochs=1, iters=5), hooks=[ScalarHook(period=2)], writers=[rows])
    script.trainer.train()
    assert rows.closed == 1
    written = [(step, row) for step, row in rows.rows if "loss/one" in row]
    assert [step for step, _ in written] == [2, 4, 5], "every period, and what is left at the end of the epoch"
    first = written[0][1]
    assert (first["cluster/clusters"], first["cluster/outliers"], first["cluster/trained_samples"]) == (2, 1, 5)
    assert first["cluster/eps"] == 0.5
    weights = [1 - 0.15 * step for step in range(5)]
    means = [sum(weights[:2]) / 2, sum(weights[2:4]) / 2, weights[4]]
    assert [row["loss/one"] for _, row in written] == pytest.approx(means)
    assert [row["loss/two"] for _, row in written] == pytest.approx([2 * mean for mean in means])
    assert [row["noted"] for _, row in written] == pytest.approx(means)
    assert all(row["lr"] == pytest.approx(0.05) for _, row in written), "the rate of the last group, its factor in it"
    assert [row["epoch"] for _, row in written] == [0, 0, 0]


def test_the_bar_stands_where_the_run_does(monkeypatch: pytest.MonkeyPatch) -> None:
    bars: list[Any] = []

    class Bar:
        def __init__(self, **options: Any) -> None:
            self.options, self.n, self.seen, self.closed = options, options["initial"], [], False
            bars.append(self)

        def refresh(self) -> None:
            self.seen.append(self.n)

        def close(self) -> None:
            self.closed = True

    monkeypatch.setattr("tqdm.tqdm", Bar)
    Script(Scripted([LABELS], epochs=2, iters=4), hooks=[ProgressHook()]).trainer.train()
    assert bars == [], "no terminal, no bar"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    Script(Scripted([LABELS], epochs=2, iters=4), hooks=[ProgressHook()]).trainer.train()
    (bar,) = bars
    assert (bar.options["total"], bar.options["initial"]) == (2, 0)
    assert bar.seen == [0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2] and bar.closed


def test_the_log_says_what_time_is_left_without_a_terminal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "unreid")
    Script(Scripted([LABELS], epochs=3, iters=1), hooks=[ProgressHook()]).trainer.train()
    said = [line for line in caplog.messages if " left" in line]
    assert [line.partition(",")[0] for line in said] == ["epoch 1 of 3 done", "epoch 2 of 3 done"]


def test_hooks_do_nothing_unless_told() -> None:
    hook = Hook()
    assert hook.state_dict() == {}
    Script(hooks=[hook]).trainer.train()
