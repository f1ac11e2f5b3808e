"""What was computed is kept: an epoch is saved before it is scored, and what has diverged is not saved at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.stored import load_run
from tests.engine.test_runs import assert_same_weights
from unreid.config import CfgNode
from unreid.engine import cli, data, exits
from unreid.engine.hooks import EvaluationHook, HistoryHook, LossGuard, ranked_list
from unreid.engine.hooks import history as history_module
from unreid.engine.run import run
from unreid.engine.trainer import Trainer
from unreid.structures import StepOutput
from unreid.utils.errors import DivergedError, IncompleteRunError, UserError

MakeConfig = Callable[..., CfgNode]


def results_of(cfg: CfgNode) -> dict[str, Any]:
    return json.loads((Path(cfg.OUTPUT_DIR) / "results.json").read_text())


def checkpoint_of(cfg: CfgNode) -> Path:
    return Path(cfg.OUTPUT_DIR) / "checkpoint.pth"


def scored_steps(cfg: CfgNode) -> list[int]:
    """Steps of the rows of metrics.jsonl that hold scores."""
    rows = [json.loads(line) for line in (Path(cfg.OUTPUT_DIR) / "metrics.jsonl").read_text().splitlines()]
    return [row["step"] for row in rows if any(name.endswith("/mAP") for name in row)]


def fail_at(monkeypatch: pytest.MonkeyPatch, epoch: int, error: Exception) -> None:
    """The evaluation after an epoch fails."""
    original = EvaluationHook._run

    def failing(self: EvaluationHook) -> dict[str, Any]:
        if self.trainer.state.epoch == epoch:
            raise error
        return original(self)

    monkeypatch.setattr(EvaluationHook, "_run", failing)


@pytest.mark.parametrize(
    ("error", "raised"),
    [(UserError("Cannot read image x."), UserError), (ZeroDivisionError("oops"), IncompleteRunError)],
)
def test_an_evaluation_that_fails_at_the_end_costs_no_training(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception]
) -> None:
    cfg = small_config("CHECKPOINT.PERIOD", "0", "OPTIM.EPOCHS", "2")
    with monkeypatch.context() as patch:
        fail_at(patch, 2, error)
        with pytest.raises(raised, match=rf"{error}.*training is done and saved.*RESUME {checkpoint_of(cfg)}"):
            run(cfg)
    results = results_of(cfg)
    assert results["finished"] is False and str(error) in results["error"]
    assert load_run(checkpoint_of(cfg))["state"]["epoch"] == 2
    # Going on scores what was not scored, and trains nothing more.
    again = run(small_config("CHECKPOINT.PERIOD", "0", "OPTIM.EPOCHS", "2", "RESUME", "auto"))
    assert again["finished"] and again["last"]["epoch"] == 2 and "error" not in results_of(cfg)
    whole = run(small_config("CHECKPOINT.PERIOD", "0", "OPTIM.EPOCHS", "2", output="whole"))
    assert again["last"] == whole["last"]


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_run_that_ended_between_saving_and_scoring_equals_an_uninterrupted_one(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    settings = ("TEST.EVAL_PERIOD", "1", "OPTIM.EPOCHS", "3", "CHECKPOINT.KEEP", "0")
    whole, cut = small_config(*settings, output="whole"), small_config(*settings, output="cut")
    expected = run(whole)
    with monkeypatch.context() as patch:
        fail_at(patch, epoch, KeyboardInterrupt())  # type: ignore[arg-type]
        with pytest.raises(KeyboardInterrupt):
            run(cut)
    state = load_run(checkpoint_of(cut))["state"]
    assert (state["epoch"], state["unreported"]) == (epoch, True)
    assert not (Path(cut.OUTPUT_DIR) / f"checkpoint_{epoch:03d}.pth").exists()  # kept when it has its scores
    found = run(small_config(*settings, "RESUME", "auto", output="cut"))
    for key in ("initial", "last", "best"):
        assert found[key] == expected[key]
    tables = [(Path(cfg.OUTPUT_DIR) / "rounds.csv").read_text() for cfg in (whole, cut)]
    assert tables[0] == tables[1]
    one, other = load_run(checkpoint_of(whole)), load_run(checkpoint_of(cut))
    assert one["state"] == other["state"] and not one["state"]["unreported"]
    assert_same_weights(one["model"], other["model"])
    assert scored_steps(whole) == scored_steps(cut)
    copies = [sorted(path.name for path in Path(cfg.OUTPUT_DIR).glob("checkpoint_*")) for cfg in (whole, cut)]
    assert copies[0] == copies[1] == [f"checkpoint_{number:03d}.pth" for number in (1, 2, 3)]


def test_the_last_checkpoint_holds_the_last_scores(small_config: MakeConfig) -> None:
    cfg = small_config("OPTIM.EPOCHS", "1", "WARMUP.EPOCHS", "0")
    results = run(cfg)
    stored = torch.load(checkpoint_of(cfg), weights_only=True)
    assert stored["results"] == results["last"] and results["last"]["epoch"] == 1


def test_what_fails_beside_the_training_is_said_and_the_results_are_there(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A picture or list that fails after the training: exit status 1, one sentence, all results."""

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("no picture")

    settings = ("TEST.EVAL_PERIOD", "1", "OPTIM.EPOCHS", "3", "TEST.RANKED_LIST", "2")
    for place, name in ((HistoryHook, "after_train"), (ranked_list, "write_ranked_list")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, broken)
            cfg = small_config(*settings, output=name)
            monkeypatch.setattr(cli, "load_config", lambda *_, cfg=cfg: cfg)
            assert cli.run_main(["--config-file", "any.yml"]) == exits.EXIT_FAILURE
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("unreid: ")]
        assert len(said) == 1 and "no picture" in said[0] and str(checkpoint_of(cfg)) in said[0]
        assert results_of(cfg)["finished"] and results_of(cfg)["last"]["epoch"] == 3
        assert (Path(cfg.OUTPUT_DIR) / "pseudo_labels.npz").is_file()  # the other hooks had their turn
    assert history_module.rounds_figure  # what the first of the two stands for


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, change: Callable[[Trainer, StepOutput], None]) -> None:
    """Changes what a step leaves behind, before any hook sees it; checks of losses wait as they do on CUDA."""
    original = LossGuard.after_step

    def after_step(self: LossGuard, output: StepOutput) -> None:
        if self.trainer.state.global_step == step:
            change(self.trainer, output)
        with monkeypatch.context() as patch:
            patch.setattr(LossGuard, "_check_losses", lambda self: None)
            original(self, output)

    monkeypatch.setattr(LossGuard, "after_step", after_step)


def lose_loss(trainer: Trainer, output: StepOutput) -> None:
    output.losses["memory"] = output.losses["memory"] * float("nan")


def lose_weight(trainer: Trainer, output: StepOutput) -> None:
    next(trainer.model.parameters()).data[0, 0, 0, 0] = float("inf")


def lose_moment(trainer: Trainer, output: StepOutput) -> None:
    next(iter(trainer.optimizer.state.values()))["exp_avg"][0, 0, 0, 0] = float("nan")


def lose_memory(trainer: Trainer, output: StepOutput) -> None:
    trainer.method.memory.bank[0, 0] = float("nan")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lose_loss, "Loss memory"),
        (lose_weight, "weight "),
        (lose_moment, "moment of the optimiser"),
        (lose_memory, "state of the method.memory.bank"),
    ],
)
def test_what_diverges_at_the_end_of_an_epoch_does_not_replace_the_last_good_state(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, change: Callable[..., None], named: str
) -> None:
    cfg = small_config("WARMUP.EPOCHS", "0", "OPTIM.EPOCHS", "2", "PRINT_PERIOD", "50")
    at_step(monkeypatch, 8, change)  # the last step of the second of two epochs
    with pytest.raises(DivergedError, match=rf"(?i){named}.* not finite .*last good state is {checkpoint_of(cfg)}"):
        run(cfg)
    assert load_run(checkpoint_of(cfg))["state"]["epoch"] == 1
    assert not (Path(cfg.OUTPUT_DIR) / "results.json").exists()


def test_a_stop_inside_an_epoch_does_not_save_what_has_diverged(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(trainer: Trainer, output: StepOutput) -> None:
        lose_weight(trainer, output)
        trainer.request_stop("test")

    cfg = small_config("WARMUP.EPOCHS", "0", "OPTIM.EPOCHS", "2")
    at_step(monkeypatch, 6, change)
    with pytest.raises(DivergedError, match="is not finite after step 6"):
        run(cfg)
    assert load_run(checkpoint_of(cfg))["state"]["epoch"] == 1


@pytest.mark.parametrize("where", ["labels", "scores"])
def test_divergence_that_shows_in_features_is_the_same_error(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    original = data.extract_features
    calls: list[int] = []

    def poisoned(*args: Any, **kwargs: Any) -> torch.Tensor:
        features = original(*args, **kwargs)
        calls.append(len(features))
        if len(calls) == (2 if where == "labels" else 3):  # round 0, round 1; then query and gallery
            features[1, 0] = float("nan")
        return features

    monkeypatch.setattr(data, "extract_features", poisoned)
    cfg = small_config("WARMUP.EPOCHS", "0", "OPTIM.EPOCHS", "2")
    with pytest.raises(DivergedError, match=r"features of 1 of \d+ samples are not finite.*OPTIM.LR.*checkpoint.pth"):
        run(cfg)
    assert load_run(checkpoint_of(cfg))["state"]["epoch"] == (1 if where == "labels" else 2)


def test_a_damaged_query_is_found_after_the_training_was_saved(small_config: MakeConfig, tmp_path: Path) -> None:
    settings = ("OPTIM.EPOCHS", "1", "WARMUP.EPOCHS", "0", "DATASETS.ROOT", str(tmp_path))
    run(small_config(*settings))  # renders
    image = sorted(tmp_path.glob("synthetic-*/query/*"))[0]
    image.write_bytes(b"not an image")
    with pytest.raises(UserError, match=rf"{image.name}.*training is done and saved"):
        run(small_config(*settings, output="again"))
    assert load_run(tmp_path / "again" / "checkpoint.pth")["state"]["epoch"] == 1
