"""Every YAML file in ``configs/`` becomes a run: model, data in the layout of its dataset, method, optimiser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.configs.conftest import SMALL_WORLDS
from tests.engine.stored import load_run
from unreid.config import CfgNode, load_config
from unreid.engine.build import build_trainer, build_writers
from unreid.engine.mining.miner import mine
from unreid.engine.mining.options import Mining
from unreid.engine.run import run
from unreid.engine.trainer import Trainer
from unreid.methods import METHODS
from unreid.structures import Clustering
from unreid.utils.events import EventStorage

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yml"))
DatasetRoot = Callable[[list[str]], Path]

on_every_config = pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])


def config(path: Path, dataset_root: DatasetRoot, output: Path, *overrides: Any) -> CfgNode:
    """A shipped config on rendered data, without pre-trained weights, with batches of 16."""
    shipped = load_config(path)
    root = dataset_root([*shipped.DATASETS.NAMES, *shipped.DATASETS.TESTS, *shipped.DATASETS.SOURCES])
    places = ["DATASETS.ROOT", str(root), "OUTPUT_DIR", str(output), "PICKLE_PATH", str(output / "pickles")]
    quiet = ["LOG.TENSORBOARD", False, "LOG.CLUSTER_IMAGES", 0, "DATALOADER.NUM_WORKERS", 0, "MODEL.DEVICE", "cpu"]
    small = ["DATALOADER.TRAIN_BATCH_SIZE", 16, "MODEL.BACKBONE.PRETRAIN", False]
    small += ["METHOD.BUC.ROUNDS", 2]  # a dozen samples would be one cluster long before round 19
    cfg = load_config(path, [*SMALL_WORLDS, *places, *quiet, *small, *overrides])
    if any((cfg.CLUSTER.STR_OPTION, cfg.CLUSTER.CCE_OPTION, cfg.CLUSTER.ICDBSCAN_OPTION, cfg.TEST.OVERLAP_CONSTRAINT)):
        # Two runs would be the way without labels; here any relation will do.
        mine(cfg, Mining(sts_from="identity", allow_labels=True, min_count=1))
    return cfg


def labelled(trainer: Trainer) -> Clustering:
    """Four clusters of random features, the same number of samples in each but for outliers."""
    count, model = trainer.method.num_samples, trainer.model
    labels = torch.arange(count) % 4
    pooled = trainer.method.cluster_feature != "embedding" and trainer.method.retrieval_feature == "embedding"
    features = torch.randn(count, model.pooled_dim if pooled else model.feature_dim)
    found = Clustering(labels, 4, features=torch.nn.functional.normalize(features, dim=1))
    if model.part_heads is not None:
        parts = torch.randn(count, model.part_heads.parts, model.part_heads.dim)
        found.part_features = torch.nn.functional.normalize(parts, dim=2)
    return found


@on_every_config
def test_it_builds_a_run_whose_batches_and_memory_fit(path: Path, dataset_root: DatasetRoot, tmp_path: Path) -> None:
    size = ("INPUT.SIZE_TRAIN", [64, 32], "INPUT.SIZE_TEST", [64, 32], "INPUT.PADDING", 4)
    cfg = config(path, dataset_root, tmp_path, *size)
    trainer = build_trainer(cfg, tmp_path, torch.device("cpu"), EventStorage(build_writers(cfg, tmp_path)))
    method, model = trainer.method, trainer.model
    assert type(method) is METHODS.get(cfg.METHOD.NAME)
    assert (method.teacher is not None) == cfg.MODEL.EMA.ENABLED
    optimised = [p for group in trainer.optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in optimised} == {id(p) for p in model.parameters() if p.requires_grad}

    plan = method.plan(labelled(trainer), 0)
    assert plan.epochs <= trainer.max_epochs
    with trainer.builders.loader(plan, method.views, False) as loader:
        batch = next(loader.epoch(0))
    assert len(batch) == 16 and len(batch.views) == len(method.views)
    assert batch.views[0].shape == (16 * batch.clip_len, 3, 64, 32)
    assert torch.equal(batch.targets, plan.targets[batch.indices])
    for hook in trainer.hooks:  # the evaluator has read query and gallery of the layout
        evaluate = getattr(hook, "evaluate", None)
        assert not hasattr(hook, "evaluate") or evaluate is not None


@pytest.mark.slow
@on_every_config
def test_it_trains_two_iterations_at_its_real_size_and_scores(
    path: Path, dataset_root: DatasetRoot, tmp_path: Path
) -> None:
    """As shipped but for the batch (clips of four frames at most); BUC runs its first two rounds, one epoch each."""
    short = ("OPTIM.EPOCHS", 1, "DATALOADER.ITERS", 2, "DATALOADER.ITERS_CLUSTER_MULTIPLIER", -1.0, "WARMUP.EPOCHS", 0)
    rounds = ("METHOD.BUC.EPOCHS_FIRST", 1, "METHOD.BUC.EPOCHS_LATER", 1)
    clips = ("DATALOADER.TRAIN_SEQ_LEN", min(4, load_config(path).DATALOADER.TRAIN_SEQ_LEN))
    share = ["CLUSTER.RHO", 0.1]  # the published share of a few dozen distances is less than one
    if load_config(path).METHOD.NAME == "AuxUSL":
        share += ["CLUSTER.FEATURE", "l2"]  # raw features of random weights are all at Jaccard distance 0
    cfg = config(path, dataset_root, tmp_path, *short, *rounds, *clips, *share)
    results = run(cfg)
    epochs = 2 if cfg.METHOD.NAME == "BUC" else 1
    assert results["finished"] and results["last"]["epoch"] == epochs
    for name in cfg.DATASETS.TESTS or cfg.DATASETS.NAMES:
        assert 0 < results["last"][name]["mAP"] <= 100
    state = load_run(tmp_path / "checkpoint.pth")
    assert state["state"]["global_step"] >= 2
    assert all(torch.isfinite(value).all() for value in state["model"].values())
