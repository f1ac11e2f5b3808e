"""Whole runs on a small rendered world: what a user does, and what must hold whatever is trained."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.stored import load_run
from unreid.config import CfgNode
from unreid.engine import build
from unreid.engine.hooks import Hook
from unreid.engine.run import run
from unreid.structures import GroundTruth, StepOutput
from unreid.utils.errors import DivergedError, UserError

MakeConfig = Callable[..., CfgNode]


def weights_of(cfg: CfgNode) -> dict[str, torch.Tensor]:
    return load_run(Path(cfg.OUTPUT_DIR) / "checkpoint.pth")["model"]


def assert_same_weights(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


class StopAt(Hook):
    """Requests a stop after a step, as SIGTERM does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, output: StepOutput) -> None:
        if self.trainer.state.global_step == self.step:
            self.trainer.request_stop("test")


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Every trainer built from now on stops after ``step``."""
    original = build.build_hooks

    def with_stop(*args: Any) -> list[Hook]:
        return [StopAt(step), *original(*args)]

    monkeypatch.setattr(build, "build_hooks", with_stop)


def test_a_run_leaves_results_metrics_and_a_checkpoint_that_scores_the_same(small_config: MakeConfig) -> None:
    cfg = small_config()
    results = run(cfg)
    folder = Path(cfg.OUTPUT_DIR)
    assert results["last"]["epoch"] == 3
    assert json.loads((folder / "results.json").read_text())["last"] == results["last"]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    names = {name for row in rows for name in row}
    assert {"loss/memory", "loss/instance", "lr", "cluster/clusters", "cluster/pair_precision"} <= names
    assert {f"phase/{phase}/seconds" for phase in ("extract", "neighbors", "cluster", "train", "evaluate")} <= names
    for file in ("config.yaml", "environment.json", "log.txt", "model_best.pth"):
        assert (folder / file).is_file(), file
    with (folder / "rounds.csv").open() as table:
        rounds = list(csv.DictReader(table))
    assert [row["round"] for row in rounds] == ["0", "1"]  # the warm-up is no round
    assert float(rounds[-1]["Synthetic mAP"]) == round(results["last"]["Synthetic"]["mAP"], 2)
    assert 0 < float(rounds[0]["pair_precision"]) <= 100
    assert int(rounds[0]["clusters"]) >= 2 and int(rounds[0]["largest"]) >= float(rounds[0]["mean_size"])

    again = run(small_config("RESUME", str(folder / "checkpoint.pth"), "TEST.EVAL_ONLY", "True", output="eval"))
    assert again["Synthetic"]["mAP"] == results["last"]["Synthetic"]["mAP"]


def test_two_runs_with_one_seed_are_identical_and_another_seed_differs(small_config: MakeConfig) -> None:
    first, second, other = (
        small_config("SEED", seed, output=name) for name, seed in (("a", "1"), ("b", "1"), ("c", "2"))
    )
    for cfg in (first, second, other):
        run(cfg)
    assert_same_weights(weights_of(first), weights_of(second))
    assert not torch.equal(weights_of(first)["pooling.p"], weights_of(other)["pooling.p"])


@pytest.mark.parametrize("step", [1, 4, 6, 10])
def test_a_resumed_run_equals_an_uninterrupted_one(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Stopped in the warm-up, in the middle of an epoch and at its end; weights, optimiser and memory agree."""
    whole = small_config(output="whole")
    run(whole)
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        cut = small_config(output="cut")
        assert not run(cut)["finished"]
    checkpoint = Path(cut.OUTPUT_DIR) / "checkpoint.pth"
    assert load_run(checkpoint)["state"]["global_step"] == step
    run(small_config("RESUME", str(checkpoint), output="cut"))

    expected, resumed = (load_run(Path(cfg.OUTPUT_DIR) / "checkpoint.pth") for cfg in (whole, cut))
    assert_same_weights(expected["model"], resumed["model"])
    assert torch.equal(expected["method"]["memory"]["bank"], resumed["method"]["memory"]["bank"])
    for key, moments in expected["optimizer"]["state"].items():
        assert torch.equal(moments["exp_avg_sq"], resumed["optimizer"]["state"][key]["exp_avg_sq"])
    assert expected["state"] == resumed["state"]


def test_training_never_sees_an_identity(small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """No leak: scrambled identities in the records give bitwise the same weights."""
    true = small_config(output="true")
    run(true)
    original = build.build_data

    def scrambled(*args: Any, **kwargs: Any) -> Any:
        data = original(*args, **kwargs)
        assert data.truth is not None
        data.truth = GroundTruth(np.random.default_rng(3).permutation(data.truth.pids))
        return data

    monkeypatch.setattr(build, "build_data", scrambled)
    other = small_config(output="scrambled")
    run(other)
    assert_same_weights(weights_of(true), weights_of(other))


def test_rounds_without_clusters_go_on_and_then_stop_with_one_sentence(
    small_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing computed before is lost: the checkpoint of the last finished epoch stays."""
    cfg = small_config("CLUSTER.EPS", "0.0001", "CLUSTER.MIN_SAMPLES", "5", "CLUSTER.MAX_EMPTY_ROUNDS", "2")
    with pytest.raises(UserError, match=r"no cluster in 2 rounds in a row.*CLUSTER\.EPS"):
        run(cfg)
    assert "every image as its own class" in caplog.text
    assert load_run(Path(cfg.OUTPUT_DIR) / "checkpoint.pth")["state"]["epoch"] == 2


def test_a_diverged_loss_names_the_step_the_loss_and_that_there_is_no_way_back(small_config: MakeConfig) -> None:
    cfg = small_config("OPTIM.LR", "1000", "OPTIM.OPT", "sgd", "WARMUP.EPOCHS", "0")
    with pytest.raises(DivergedError, match=r"Loss memory is not finite at step \d+.*No checkpoint had been written"):
        run(cfg)
    assert not (Path(cfg.OUTPUT_DIR) / "checkpoint.pth").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("TEST.EVAL_ONLY", "True"), "needs a checkpoint"),
        (("RESUME", "nowhere.pth"), "nowhere.pth"),
        (("DATASETS.NAMES", "['Market1501']"), "Market-1501"),
        (("METHOD.NAME", "ClusterContrst"), "Did you mean 'ClusterContrast'"),
        (("MODEL.DEVICE", "cuda:7"), "cuda:7"),
    ],
)
def test_mistakes_are_one_sentence(small_config: MakeConfig, overrides: tuple[str, ...], message: str) -> None:
    if "cuda:7" in overrides and torch.cuda.is_available():
        pytest.skip("needs a machine without CUDA")
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        run(small_config(*overrides))


@pytest.mark.parametrize("select", ["last", "best_test", "label_free"])
def test_the_selected_epoch_is_reported_with_how_it_was_selected(small_config: MakeConfig, select: str) -> None:
    results = run(small_config("TEST.SELECT", select, "TEST.EVAL_PERIOD", "1"))
    assert results["last"]["epoch"] == 3
    assert results["best"]["selected_by"] == ("label_free" if select == "label_free" else "best_test")


def test_a_run_can_start_from_the_whole_network_of_another(small_config: MakeConfig) -> None:
    """MODEL.INIT_PATH: the untrained score of the second run is the last of the first; optimiser and labels are new."""
    source = small_config(output="source")
    last = run(source)["last"]["Synthetic"]
    checkpoint = str(Path(source.OUTPUT_DIR) / "checkpoint.pth")
    adapted = run(
        small_config(
            *("MODEL.INIT_PATH", checkpoint, "MODEL.RECALIBRATE_BN", "0", "TEST.EVAL_START", "True"), output="adapted"
        )
    )
    assert adapted["initial"]["Synthetic"] == last
    assert adapted["last"]["epoch"] == 3
