"""What a method's step needs, small enough to follow by hand: a linear encoder, random images, fixed labels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreid.config import load_config
from unreid.methods import Method, build_method
from unreid.structures import Batch, Clustering, ModelOutput, Position, StepOutput

DIM = 8
PIXELS = 3 * 2 * 2


class ToyModel(nn.Module):
    """Images (B, 3, 2, 2) -> features: linear, BN whose statistics a test can watch, L2."""

    feature_dim = pooled_dim = DIM

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(PIXELS, DIM, bias=False)
        self.bottleneck = nn.BatchNorm1d(DIM)
        self.bottleneck.bias.requires_grad_(False)

    def forward(self, images: Tensor, clip_len: int = 1, camids: Tensor | None = None) -> ModelOutput:
        pooled = self.linear(images.flatten(1))
        return ModelOutput(pooled, F.normalize(self.bottleneck(pooled), dim=1))


def toy_method(*overrides: Any, camids: Tensor, model: nn.Module | None = None) -> Method:
    """The method of a config of plain overrides, on a :class:`ToyModel` made from seed 0."""
    torch.manual_seed(0)
    cfg = load_config(None, ["DATALOADER.NUM_INSTANCE", 4, "DATALOADER.TRAIN_BATCH_SIZE", 16, *overrides])
    method = build_method(cfg, model=model or ToyModel(), camids=camids)
    method.train_mode()
    return method


def toy_clustering(labels: Tensor, seed: int = 1, **extras: Any) -> Clustering:
    """Given labels with random unit features."""
    features = F.normalize(torch.randn(len(labels), DIM, generator=torch.Generator().manual_seed(seed)), dim=1)
    return Clustering(labels, int(labels.max()) + 1, extras=extras, features=features)


def toy_batch(indices: Tensor, labels: Tensor, camids: Tensor, views: int = 1, seed: int = 2) -> Batch:
    """Random images for some positions of the training list; every view another picture."""
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randn(len(indices), 3, 2, 2, generator=generator) for _ in range(views)]
    return Batch(images, labels[indices], camids[indices], indices)


def at_step(step: int, iters: int = 10, epochs: int = 4) -> Position:
    """The position of global step ``step``."""
    return Position(step // iters, step // iters, epochs, step % iters, iters, step)


def train_step(method: Method, optimizer: torch.optim.Optimizer, batch: Batch, at: Position) -> StepOutput:
    """What the trainer does in a step."""
    output = method.step(batch, at)
    optimizer.zero_grad(set_to_none=True)
    torch.stack(list(output.losses.values())).sum().backward()
    optimizer.step()
    method.after_step(output.cache, at)
    return output
