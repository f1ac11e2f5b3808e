"""The records that the rooms of the package exchange. Nothing here computes more than a shape.

Torch is imported where it is used: datasets are found, and mistakes in a config named, without its seconds of loading.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from unreid.utils.errors import InputError

if TYPE_CHECKING:
    import torch
    from scipy.sparse import csr_array
    from torch import Tensor


DENSE_ROWS = 1024  # rows of a dense matrix that constraints change at once


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
        source: in domain adaptation an equally large batch of the labelled source; its targets are identities and its
            indices positions in the source's list.
    """

    views: Sequence[Tensor]
    targets: Tensor
    camids: Tensor
    indices: Tensor
    clip_len: int = 1
    source: Batch | None = None

    def __len__(self) -> int:
        return len(self.targets)


@dataclass
class ModelOutput:
    """What the embedding model returns for B samples.

    Attributes:
        pooled: (B, D_backbone), mean over frames of the pooled map; neither BN nor normalisation applied.
        embedding: (B, D), after the bottleneck and L2 normalisation (see ``models/embedding.py`` for clips).
        logits: (B, num_classes) or None when the model has no classifier.
        neck: (B, D), after the bottleneck and not normalised (mean over frames).
        parts: (B, P, C) or None when the model has no part heads: their features, not normalised.
        part_logits: (B, P, num_classes) or None, of the classifiers of the parts; training mode only.
    """

    pooled: Tensor
    embedding: Tensor
    logits: Tensor | None = None
    neck: Tensor | None = None
    parts: Tensor | None = None
    part_logits: Tensor | None = None


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
        beyond: given distances float32 (rows, N) of pairs that are not listed, and the slice of these rows, returns
            what constraints make of them; None: nothing. Read by :meth:`to_dense` only.
    """

    n: int
    i: Tensor
    j: Tensor
    dist: Tensor
    radius: float
    self_dist: Tensor
    beyond: Callable[[Tensor, slice], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.i)

    def within(self, radius: float, tol: float = 0.0) -> PairGraph:
        """The graph restricted to ``dist <= radius + tol``; raises ``ValueError`` if it does not reach so far."""
        if radius > self.radius:
            raise ValueError(f"the graph was built up to {self.radius}, not up to {radius}")
        keep = self.dist <= radius + tol
        return replace(self, i=self.i[keep], j=self.j[keep], dist=self.dist[keep], radius=radius)

    def to_dense(self, fill: float = 1.0) -> Tensor:
        """float32 (N, N) with ``fill`` where nothing is stored. For tests, small N and HDC only."""
        import torch

        dense = torch.full((self.n, self.n), fill, dtype=torch.float32, device=self.dist.device)
        if self.beyond is not None:
            for start in range(0, self.n, DENSE_ROWS):
                rows = slice(start, min(start + DENSE_ROWS, self.n))
                dense[rows] = self.beyond(dense[rows], rows)
        dense[self.i, self.j] = self.dist
        dense[self.j, self.i] = self.dist
        dense.diagonal().copy_(self.self_dist)
        return dense

    def to_scipy(self) -> csr_array:
        """float32 (N, N) CSR matrix for scipy, scikit-learn and their kin: symmetric, columns ascending.

        Stored are both directions of every pair of the graph, pairs at distance 0 included, and the diagonal. What is
        not stored lies beyond ``radius``; it is not at distance 0. ``sklearn.cluster.DBSCAN(metric="precomputed")``
        reads it so.
        """
        import torch
        from scipy.sparse import coo_array

        own = torch.arange(self.n, device=self.i.device)
        row, column = torch.cat((self.i, self.j, own)).cpu().numpy(), torch.cat((self.j, self.i, own)).cpu().numpy()
        values = torch.cat((self.dist, self.dist, self.self_dist)).cpu().numpy()
        matrix = coo_array((values, (row, column)), shape=(self.n, self.n)).tocsr()
        matrix.sort_indices()
        return matrix

    @classmethod
    def from_scipy(cls, matrix: Any, radius: float | None = None) -> PairGraph:
        """The graph of a symmetric sparse matrix (N, N) as :meth:`to_scipy` describes it.

        Args:
            matrix: a scipy sparse matrix or array; pairs that it does not store count as beyond ``radius``.
            radius: the largest distance it is complete up to; None: the largest one stored.

        Raises:
            InputError: not sparse, not square or not symmetric.
        """
        import torch

        if not hasattr(matrix, "tocoo") or len(matrix.shape) != 2 or matrix.shape[0] != matrix.shape[1]:
            raise InputError(f"a pair graph is made from a sparse matrix (N, N), not from {type(matrix).__name__}.")
        coo = matrix.tocsr().tocoo()
        upper, lower = coo.row < coo.col, coo.row > coo.col
        own = np.zeros(matrix.shape[0], dtype=np.float32)
        own[coo.row[coo.row == coo.col]] = coo.data[coo.row == coo.col]
        order = np.lexsort((coo.col[upper], coo.row[upper]))
        mirror = np.lexsort((coo.row[lower], coo.col[lower]))
        i, j, dist = (part[upper][order] for part in (coo.row, coo.col, coo.data))
        other = (coo.col[lower][mirror], coo.row[lower][mirror], coo.data[lower][mirror])
        if not all(np.array_equal(one, two) for one, two in zip((i, j, dist), other)):
            raise InputError("a pair graph is made from a symmetric matrix (N, N), and this one is not symmetric.")
        reach = float(dist.max(initial=0.0)) if radius is None else radius
        pairs = torch.from_numpy(i.astype(np.int64)), torch.from_numpy(j.astype(np.int64))
        return cls(matrix.shape[0], *pairs, torch.from_numpy(dist.astype(np.float32)), reach, torch.from_numpy(own))

    def to(self, device: torch.device | str) -> PairGraph:
        """The same graph on another device."""
        moved = {name: getattr(self, name).to(device) for name in ("i", "j", "dist", "self_dist")}
        return replace(self, **moved)


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
        part_features: float32 (N, P, C) or None, unit features of parts of the samples (PPLR).
    """

    labels: Tensor
    num_clusters: int
    centroids: Tensor | None = None
    core: Tensor | None = None
    extras: dict[str, Any] = field(default_factory=dict)
    features: Tensor | None = None
    part_features: Tensor | None = None

    @classmethod
    def from_labels(cls, labels: Tensor | np.ndarray | Sequence[int], **kwargs: Any) -> Clustering:
        """Renumbers ``labels`` to 0..C-1 in ascending order, keeps -1 (outliers), and counts.

        Args:
            labels: (N,) whole numbers from -1 on: a tensor, an array or a list.

        Raises:
            InputError: anything else, such as a mask, fractions, or a negative label other than -1.
        """
        import torch

        labels = _whole_numbers(labels)
        found, compact = torch.unique(labels, return_inverse=True)
        if len(found) and found[0] < 0:
            compact = compact - 1
            return cls(compact, len(found) - 1, **kwargs)
        return cls(compact, len(found), **kwargs)

    def without(self, samples: Tensor) -> Clustering:
        """The same with some samples turned into outliers.

        Clusters that lose all members disappear; centroids then no longer fit and are dropped with them.

        Args:
            samples: bool (N,), or int64 positions.
        """
        labels = self.labels.clone()
        labels[samples] = -1
        if labels.equal(self.labels):
            return self
        kept = Clustering.from_labels(labels)
        same = kept.num_clusters == self.num_clusters
        return replace(
            self,
            labels=kept.labels,
            num_clusters=kept.num_clusters,
            centroids=self.centroids if same else None,
        )

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


def _whole_numbers(labels: Tensor | np.ndarray | Sequence[int]) -> Tensor:
    """int64 (N,) on the CPU of labels from -1 on; ``InputError`` with one sentence for everything else."""
    import torch

    if isinstance(labels, torch.Tensor):
        labels = labels.detach().cpu()
        labels = (labels.double() if labels.is_floating_point() else labels).numpy()  # NumPy has no bfloat16
    array = np.asarray(labels)
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        raise InputError(f"Labels are a row of whole numbers (N,), not {array.dtype} of shape {array.shape}.")
    exact = 2**53 if array.dtype.kind == "f" else 2**63 - 1  # the largest numbers that survive the conversion
    good = (array >= -1) & (array <= exact) & (array == np.trunc(array))
    if not good.all():
        raise InputError(f"A label is -1 (outlier) or a cluster's number from 0 on, not {array[~good][0]}.")
    return torch.from_numpy(array.astype(np.int64))


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

    def suited_to(self, clustering: Clustering) -> RoundPlan:
        """This plan; shuffled where every sample is its own cluster: no sampler of groups finds a pair there."""
        if clustering.num_clusters == len(clustering.labels):
            return replace(self, sampler="shuffle")
        return self


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
