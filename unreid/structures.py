"""The records that the rooms of the package exchange. Nothing here computes more than a shape.

Torch is imported where it is used: datasets are found, and mistakes in a config named, without its seconds of loading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Tracklet:
    """One training, query or gallery sample: an image (one path) or a sequence of frames from one camera.

    It carries no identity: identities live in :class:`GroundTruth`, beside the records and indexed like them.

    Attributes:
        paths: absolute paths of the frames, in time order; exactly one for an image.
        camid: camera, 0-based.
        trackid: number of the pass it was cut from; unique within a split. Clips of one pass share it.
        frames: frame numbers on the clock of the camera, one per path, or None when the names hold no time.
    """

    paths: tuple[str, ...]
    camid: int
    trackid: int
    frames: tuple[int, ...] | None = None


@dataclass(frozen=True)
class GroundTruth:
    """Identities of a list of tracklets. Only evaluation and diagnostic hooks receive it, never a method.

    Attributes:
        pids: int64 (N,), raw identities; 0 and below have the meaning the dataset gives them.
    """

    pids: np.ndarray

    def __len__(self) -> int:
        return len(self.pids)


@dataclass
class Batch:
    """One training step's input on one process, already on the device.

    Attributes:
        views: one or two float tensors (B * clip_len, 3, H, W), frames of a clip adjacent; views of one batch differ
            in their augmentation only.
        targets: int64 (B,), pseudo labels >= 0.
        camids: int64 (B,), 0-based.
        indices: int64 (B,), positions in the full training list (outliers counted).
        clip_len: frames per sample T; 1 for images.
    """

    views: Sequence[Tensor]
    targets: Tensor
    camids: Tensor
    indices: Tensor
    clip_len: int = 1

    def __len__(self) -> int:
        return len(self.targets)


@dataclass
class ModelOutput:
    """What the embedding model returns for B samples.

    Attributes:
        pooled: (B, D_backbone), mean over frames of the pooled map; neither BN nor normalisation applied.
        embedding: (B, D), after the bottleneck and L2 normalisation (see ``models/embedding.py`` for clips).
        logits: (B, num_classes) or None when the model has no classifier.
    """

    pooled: Tensor
    embedding: Tensor
    logits: Tensor | None = None


@dataclass
class PairGraph:
    """Every unordered pair i < j with distance <= ``radius`` (+ the builder's tolerance), sorted by (i, j).

    A pair that is not listed lies beyond the radius; pairs at distance 0 are listed.

    Attributes:
        n: number of samples N.
        i, j: int64 (E,), i < j.
        dist: float32 (E,).
        radius: the largest distance the graph knows about; below 1 for Jaccard distances.
        self_dist: float32 (N,), distance of a sample to itself (0 but for degenerate rows).
    """

    n: int
    i: Tensor
    j: Tensor
    dist: Tensor
    radius: float
    self_dist: Tensor

    def __len__(self) -> int:
        return len(self.i)

    def within(self, radius: float, tol: float = 0.0) -> PairGraph:
        """The graph restricted to ``dist <= radius + tol``; raises ``ValueError`` if it does not reach so far."""
        if radius > self.radius:
            raise ValueError(f"the graph was built up to {self.radius}, not up to {radius}")
        keep = self.dist <= radius + tol
        return PairGraph(self.n, self.i[keep], self.j[keep], self.dist[keep], radius, self.self_dist)

    def to_dense(self, fill: float = 1.0) -> Tensor:
        """float32 (N, N) with ``fill`` where nothing is stored. For tests, small N and HDC only."""
        import torch

        dense = torch.full((self.n, self.n), fill, dtype=torch.float32, device=self.dist.device)
        dense[self.i, self.j] = self.dist
        dense[self.j, self.i] = self.dist
        dense.diagonal().copy_(self.self_dist)
        return dense

    def to(self, device: torch.device | str) -> PairGraph:
        """The same graph on another device."""
        return PairGraph(
            self.n,
            self.i.to(device),
            self.j.to(device),
            self.dist.to(device),
            self.radius,
            self.self_dist.to(device),
        )


@dataclass
class Clustering:
    """Pseudo labels of one round.

    Attributes:
        labels: int64 (N,) on CPU; -1 outlier, clusters 0..num_clusters-1 without holes.
        num_clusters: C.
        centroids: float32 (C, D) or None; None means "take the normalised means of the members".
        core: bool (N,) or None; None means that every member counts as core.
        extras: what only one method reads (reliabilities, thresholds, released samples, the eps in use ...).
        features: float32 (N, D), the features that were clustered; the memory is filled from them.
    """

    labels: Tensor
    num_clusters: int
    centroids: Tensor | None = None
    core: Tensor | None = None
    extras: dict[str, Any] = field(default_factory=dict)
    features: Tensor | None = None

    @classmethod
    def from_labels(cls, labels: Tensor | np.ndarray, **kwargs: Any) -> Clustering:
        """Renumbers ``labels`` to 0..C-1 in ascending order, keeps -1, and counts."""
        import torch

        labels = torch.as_tensor(labels, dtype=torch.int64).cpu()
        found, compact = torch.unique(labels, return_inverse=True)
        if len(found) and found[0] < 0:
            compact = compact - 1
            return cls(compact, len(found) - 1, **kwargs)
        return cls(compact, len(found), **kwargs)

    def cpu(self) -> Clustering:
        """The same without features, all tensors on CPU: what one process tells the others."""
        from torch import Tensor

        extras = {key: value.cpu() if isinstance(value, Tensor) else value for key, value in self.extras.items()}
        return Clustering(
            self.labels.cpu(),
            self.num_clusters,
            centroids=None if self.centroids is None else self.centroids.cpu(),
            core=None if self.core is None else self.core.cpu(),
            extras=extras,
        )

    @property
    def num_outliers(self) -> int:
        return int((self.labels < 0).sum())


@dataclass
class RoundPlan:
    """How the engine trains on a :class:`Clustering`.

    Attributes:
        targets: int64 (N,) on CPU over the full training list; -1 is left out of training.
        epochs: epochs of this round.
        iters: optimiser steps per epoch; 0 means one pass over the sampler.
        optimizer: "keep" the optimiser and its state, or "rebuild" it for this round.
        lr: learning rate of the round, or None to follow the run's schedule.
        lr_milestones: epochs of the round from which ``lr`` is divided by ten (once each).
        sampler: name of the sampler, or None for ``DATALOADER.SAMPLER.NAME``.
        batch_size: samples of a step over all processes, or None for ``DATALOADER.TRAIN_BATCH_SIZE``.
    """

    targets: Tensor
    epochs: int
    iters: int
    optimizer: str = "keep"
    lr: float | None = None
    lr_milestones: tuple[int, ...] = ()
    sampler: str | None = None
    batch_size: int | None = None


@dataclass(frozen=True)
class Position:
    """Where in the run a step stands; all counters start at 0.

    Attributes:
        round, epoch: since the start of the run.
        epochs: planned epochs of the whole run.
        step, iters: step within the epoch, and steps of that epoch.
        global_step: optimiser steps since the start of the run.
    """

    round: int
    epoch: int
    epochs: int
    step: int
    iters: int
    global_step: int

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1): t / T of the papers."""
        return (self.epoch + self.step / max(self.iters, 1)) / max(self.epochs, 1)


@dataclass
class StepOutput:
    """Result of one training step.

    Attributes:
        losses: name -> scalar tensor, already weighted: their sum is what is differentiated.
        cache: what ``after_step`` needs (detached features, targets, ...).
        scalars: name -> scalar tensor, logged only.
    """

    losses: dict[str, Tensor]
    cache: Any = None
    scalars: dict[str, Tensor] = field(default_factory=dict)
