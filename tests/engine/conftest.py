"""A run small enough for a test: a rendered world of a few identities and a config for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from unreid.config import CfgNode, load_config

CONFIGS = Path(__file__).parents[2] / "configs"

SMALL_WORLD = [
    *("DATASETS.SYNTHETIC.TRAIN_IDS", "12"),
    *("DATASETS.SYNTHETIC.TEST_IDS", "6"),
    *("DATASETS.SYNTHETIC.CAMERAS", "3"),
    *("DATASETS.SYNTHETIC.IMAGES_PER_CAMERA", "3"),
]
SHORT_RUN = [
    *("DATALOADER.ITERS", "4"),
    *("DATALOADER.TRAIN_BATCH_SIZE", "16"),
    *("OPTIM.EPOCHS", "3"),
    *("WARMUP.EPOCHS", "1"),
    *("WARMUP.ITERS", "2"),
    *("WARMUP.BATCH_SIZE", "8"),
    *("CLUSTER.K1", "8"),
    *("CLUSTER.K2", "3"),
    *("CLUSTER.EPS", "0.7"),
    *("CLUSTER.MIN_SAMPLES", "2"),
    *("MODEL.RECALIBRATE_BN", "2"),
    *("MODEL.DEVICE", "cpu"),
    *("TEST.EVAL_PERIOD", "0"),
    *("TEST.EVAL_START", "False"),
    *("LOG.TENSORBOARD", "False"),
    *("LOG.CLUSTER_IMAGES", "0"),
]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATASETS.ROOT with a small rendered dataset; rendered by the first run that asks for it."""
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture
def small_config(world: Path, tmp_path: Path) -> Callable[..., CfgNode]:
    """(KEY, VALUE, ..., file=...) -> a frozen config of a short run on the small world, writing below ``tmp_path``."""

    def make(*overrides: str, file: str = "ClusterContrast_synthetic.yml", output: str = "run") -> CfgNode:
        places = ["DATASETS.ROOT", str(world), "OUTPUT_DIR", str(tmp_path / output)]
        return load_config(str(CONFIGS / file), [*SMALL_WORLD, *SHORT_RUN, *places, *overrides])

    return make
