"""What a method's step needs, small enough to follow by hand: a linear encoder, random images, fixed labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreid.config import load_config
from unreid.engine.data import Features
from unreid.engine.hooks import Hook
from unreid.engine.precision import Precision
from unreid.engine.rounds import RoundGuard
from unreid.engine.trainer import Builders, Trainer
from unreid.methods import Method, build_method
from unreid.structures import Batch, Clustering, ModelOutput, Position, RoundPlan, StepOutput
from unreid.utils.events import EventStorage

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


def toy_clustering(labels: Tensor, seed: int = 1, **known: Any) -> Clustering:
    """Given labels with random unit features."""
    features = F.normalize(torch.randn(len(labels), DIM, generator=torch.Generator().manual_seed(seed)), dim=1)
    return Clustering(labels, int(labels.max()) + 1, features=features, **known)


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


class ToyLoader:
    """Batches of fixed images, one per position of the training list; a pure function of (epoch, step)."""

    def __init__(self, images: Tensor, camids: Tensor, plan: RoundPlan, views: int, batch_size: int) -> None:
        self.images, self.camids, self.plan, self.views, self.batch_size = images, camids, plan, views, batch_size
        self.members = torch.nonzero(plan.targets >= 0).flatten()
        self.closed = False

    def __len__(self) -> int:
        return self.plan.iters or len(self.members) // self.batch_size

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        for step in range(start_step, len(self)):
            order = torch.randperm(len(self.members), generator=torch.Generator().manual_seed(1000 * epoch + step))
            indices = self.members[order[: self.batch_size]]
            yield Batch([self.images[indices]] * self.views, self.plan.targets[indices], self.camids[indices], indices)

    def close(self) -> None:
        self.closed = True


def toy_trainer(
    method: Method,
    images: Tensor,
    *,
    hooks: Iterable[Hook] = (),
    precision: Precision | None = None,
    relabel_every: int = 1,
    batch_size: int = 12,
) -> Trainer:
    """The engine's trainer on given images (N, 3, 2, 2) instead of files, with plain SGD."""

    def extract(encoder: nn.Module, feature: str, round: int) -> Features:
        encoder.eval()
        with torch.no_grad():
            output = encoder(images)
        pooled = output.pooled if feature.startswith("pooled") else output.embedding
        values = F.normalize(pooled, dim=1) if feature == "pooled_l2" else pooled
        return Features(values, torch.empty(0, dtype=torch.int64))

    return Trainer(
        model=method.model,
        method=method,
        warmup=None,
        builders=Builders(
            loader=lambda plan, views, warmup: ToyLoader(images, method.camids, plan, len(views), batch_size),
            extract=extract,
            optimizer=lambda: torch.optim.SGD(method.model.parameters(), 0.1, momentum=0.9),
            learning_rate=lambda epoch: 0.1,
        ),
        guard=RoundGuard(3),
        precision=precision or Precision(),
        storage=EventStorage([]),
        hooks=hooks,
        relabel_every=relabel_every,
    )
