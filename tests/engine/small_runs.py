"""Whole trainers of every method on a net of four channels and images in memory: built and trained in milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.methods.toys import toy_trainer
from unreid.config import CfgNode, load_config
from unreid.engine.checkpoint import save_run
from unreid.engine.hooks import CheckpointHook, EvaluationHook, HistoryHook, Hook, PseudoLabelHook
from unreid.engine.optim import build_optimizer
from unreid.engine.precision import Precision
from unreid.engine.trainer import Trainer
from unreid.methods import build_method
from unreid.models.embedding import EmbeddingModel
from unreid.structures import StepOutput

METHODS: dict[str, tuple[Any, ...]] = {
    "ClusterContrast": (),
    "SpCL": ("MEMORY.NAME", "HybridMemory"),
    "CDSM": ("MEMORY.NAME", "DiversityMemory", "MEMORY.UPDATE", "v4", "MODEL.EMA.ENABLED", True),
    "AuxUSL": ("MODEL.EMA.ENABLED", True, "MODEL.CLASSIFIER", True),
    "BUC": ("MEMORY.NAME", "ExclusiveTable", "METHOD.BUC.MERGE_PERCENT", 0.25, "METHOD.BUC.EPOCHS_FIRST", 2),
}
SMALL = (
    *("MODEL.BACKBONE.NAME", "resnet_tiny", "MODEL.BACKBONE.WIDTH", 4, "MODEL.BACKBONE.PRETRAIN", False),
    *("MODEL.POOLING.NAME", "gem", "CLUSTER.K1", 6, "CLUSTER.K2", 2, "CLUSTER.MIN_SAMPLES", 2, "OPTIM.EPOCHS", 3),
    *("DATALOADER.ITERS", 3, "DATALOADER.TRAIN_BATCH_SIZE", 12, "DATALOADER.NUM_INSTANCE", 4),
    *("DATALOADER.NUM_WORKERS", 0, "INPUT.SIZE_TRAIN", [16, 8], "INPUT.SIZE_TEST", [16, 8], "MODEL.DEVICE", "cpu"),
)


class StopAt(Hook):
    """Requests a stop after a step, as SIGTERM does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, output: StepOutput) -> None:
        if self.trainer.state.global_step == self.step:
            self.trainer.request_stop("test")


def small_config(method: str = "ClusterContrast", *overrides: Any) -> CfgNode:
    return load_config(None, [*SMALL, "METHOD.NAME", method, *METHODS[method], *overrides])


def small_trainer(cfg: CfgNode, folder: Path, *hooks: Hook, ids: int = 6) -> Trainer:
    """A trainer on four crops of each identity, before its first step."""
    torch.manual_seed(cfg.SEED)
    images = pictures(ids)
    camids = torch.arange(len(images)) % 2
    model = EmbeddingModel.from_config(cfg, num_classes=len(images), pretrained=False)
    method = build_method(cfg, model=model, camids=camids)
    evaluation = EvaluationHook(lambda encoder: {"Toy": {"mAP": 50.0, "R1": 60.0}}, period=1, select="last")
    trainer = toy_trainer(
        method,
        images,
        hooks=[
            *hooks,
            evaluation,
            HistoryHook(folder, evaluation),
            CheckpointHook(folder, config=cfg.dump(), evaluation=evaluation),
            PseudoLabelHook(folder, [str(number) for number in range(len(images))], {}),
        ],
        precision=Precision(cfg.OPTIM.AMP),
    )
    trainer.builders.optimizer = lambda: build_optimizer(cfg, model)
    trainer.optimizer = trainer.builders.optimizer()
    return trainer


def stopped_run(cfg: CfgNode, folder: Path, step: int = 5) -> Path:
    """Trains until ``step``, inside the second epoch, and returns the checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    trainer = small_trainer(cfg, folder, StopAt(step))
    trainer.train()
    return folder / "checkpoint.pth"


def write_state(path: Path, trainer: Trainer, cfg: CfgNode) -> Path:
    """A checkpoint of a trainer as it is."""
    save_run(path, trainer.state_dict(), cfg.dump(), {}, trainer.method.retrieval_feature)
    return path


def pictures(ids: int) -> Tensor:
    """float (4 * ids, 3, 16, 8): what belongs together looks alike."""
    generator = torch.Generator().manual_seed(3)
    people = torch.randn(ids, 3, 4, 2, generator=generator).repeat_interleave(4, 0)
    noise = 0.1 * torch.randn(4 * ids, 3, 16, 8, generator=generator)
    return torch.nn.functional.interpolate(people, size=(16, 8)) + noise
