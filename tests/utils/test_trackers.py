"""Experiment trackers: what they are told, what happens without them and when they fail."""

from __future__ import annotations

import json
import logging
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from unreid.config import load_config
from unreid.engine.build import build_writers
from unreid.engine.preflight import check_packages, check_parts
from unreid.utils.errors import UserError
from unreid.utils.events import WRITERS, Events

SETTINGS = {"OPTIM.LR": 0.1, "DATASETS.NAMES": ["A"]}


class Wandb(types.ModuleType):
    """Remembers what it is told."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.started: list[dict[str, Any]] = []
        self.rows: list[tuple[int, dict[str, Any]]] = []
        self.ended = self.failing = False

    def init(self, **options: Any) -> Wandb:
        self.started.append(options)
        self.id = options["id"] or "abc"
        return self

    def log(self, row: dict[str, Any], step: int) -> None:
        if self.failing:
            raise ConnectionError("the server\nis away")
        self.rows.append((step, row))

    def finish(self) -> None:
        self.ended = True


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Wandb:
    module = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return module


def test_the_numbers_of_a_run_reach_the_tracker(wandb: Wandb, tmp_path: Path) -> None:
    writer = WRITERS.get("w&b")(tmp_path / "run", SETTINGS, None)
    writer.write(Events(20, {"loss/memory": 1.5}))
    writer.close()
    (started,) = wandb.started
    assert started["config"] == SETTINGS and started["name"] == "run" and started["id"] is None
    assert wandb.rows == [(20, {"loss/memory": 1.5})] and wandb.ended


def test_a_resumed_run_goes_on_in_the_trackers_run(wandb: Wandb, tmp_path: Path) -> None:
    WRITERS.get("wandb")(tmp_path, SETTINGS, None)
    assert json.loads((tmp_path / "trackers.json").read_text()) == {"wandb": "abc"}
    WRITERS.get("wandb")(tmp_path, SETTINGS, 40)
    WRITERS.get("wandb")(tmp_path, SETTINGS, None)
    assert [started["id"] for started in wandb.started] == [None, "abc", None]


def test_a_tracker_that_fails_is_dropped_with_one_warning(
    wandb: Wandb, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "unreid")
    writer = WRITERS.get("wandb")(tmp_path, SETTINGS, None)
    wandb.failing = True
    for step in range(3):
        writer.write(Events(step, {"x": 1.0}))
    writer.close()
    assert caplog.messages == [
        "WandB failed (ConnectionError: the server is away) and gets nothing more; the run goes on."
    ]
    assert not wandb.ended


@pytest.mark.parametrize(("name", "package"), [("WandB", "wandb"), ("W&B", "wandb"), ("ml-flow", "mlflow")])
def test_a_missing_package_is_one_sentence(name: str, package: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    cfg = load_config(None, ["LOG.WRITERS", name, "LOG.TENSORBOARD", "False"])
    with pytest.raises(UserError, match=f"LOG.WRITERS {name} needs the package {package}, which is not installed"):
        check_packages(cfg)
    with pytest.raises(UserError, match=f"needs the package {package}.*: install it, or take"):
        WRITERS.get(name)(tmp_path, {}, None)


def test_a_name_that_no_writer_has_is_refused_and_one_that_is_given_twice_counts_once(
    wandb: Wandb, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no writer named 'wanb'. Did you mean 'WandB'"):
        check_parts(load_config(None, ["LOG.WRITERS", "wanb"]))
    cfg = load_config(None, ["LOG.WRITERS", "WandB,W&B,wandb", "LOG.TENSORBOARD", "False"])
    check_parts(cfg)
    assert len(build_writers(cfg, tmp_path)) == 3
    assert wandb.started[0]["config"]["OPTIM.LR"] == cfg.OPTIM.LR


def test_the_real_mlflow_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    many = {f"KEY.{number}": "x" * 600 for number in range(250)}
    writer = WRITERS.get("MLflow")(tmp_path / "run", many, None)
    writer.write(Events(20, {"test/W (1)/mAP": 40.0, "loss/memory": 1.5}))
    writer.close()
    again = WRITERS.get("MLflow")(tmp_path / "run", many, 20)
    again.write(Events(40, {"loss/memory": 1.0}))
    again.close()
    client = mlflow.tracking.MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("unreid").experiment_id])
    assert run.info.run_name == "run" and run.info.status == "FINISHED" and len(run.data.params) == 250
    assert run.data.metrics["test/W _1_/mAP"] == 40.0
    assert [(row.step, row.value) for row in client.get_metric_history(run.info.run_id, "loss/memory")] == [
        (20, 1.5),
        (40, 1.0),
    ]


def test_the_real_wandb_takes_it_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    tmp_path.joinpath("run").mkdir()
    writer = WRITERS.get("WandB")(tmp_path / "run", SETTINGS, None)
    writer.write(Events(20, {"loss/memory": 1.5}))
    writer.close()
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
