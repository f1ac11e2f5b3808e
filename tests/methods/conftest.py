"""Whole runs of under a second: the rendered world of the engine's tests and a net of four channels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import CONFIGS, SHORT_RUN, SMALL_WORLD
from unreid.config import CfgNode, load_config
from unreid.engine import build

TINY_RUN = [
    *("MODEL.BACKBONE.WIDTH", "4"),
    *("DATALOADER.ITERS", "3"),
    *("OPTIM.EPOCHS", "3"),
    *("WARMUP.EPOCHS", "0"),
    *("CLUSTER.NUM_CLUSTERS", "10"),
    *("CLUSTER.WARMUP.ROUNDS", "1"),
    *("METHOD.BUC.MERGE_PERCENT", "0.25", "METHOD.BUC.ROUNDS", "0"),  # three rounds
    *("METHOD.BUC.EPOCHS_FIRST", "1"),
    *("METHOD.BUC.EPOCHS_LATER", "1"),
]

MakeConfig = Callable[..., CfgNode]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATASETS.ROOT with a small rendered dataset; rendered by the first run that asks for it."""
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture
def tiny_config(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeConfig:
    """(KEY, VALUE, ..., file=...) -> a frozen config of a tiny run that is not evaluated."""
    monkeypatch.setattr(build, "build_evaluate", lambda *args: None)

    def make(*overrides: Any, file: str = "ClusterContrast_synthetic.yml", output: str = "run") -> CfgNode:
        places = ["DATASETS.ROOT", str(world), "OUTPUT_DIR", str(tmp_path / output)]
        return load_config(str(CONFIGS / file), [*SMALL_WORLD, *SHORT_RUN, *TINY_RUN, *places, *overrides])

    return make
