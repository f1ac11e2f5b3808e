"""The iteration of harmonic discrepancy clustering."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from unreid.clustering.hdc.centroids import update_centroids
from unreid.clustering.hdc.confidence import OwnConfidence
from unreid.clustering.hdc.harmonic import HarmonicPass, discrepancy_
from unreid.clustering.hdc.peripheral import detect_peripheral
from unreid.clustering.hdc.relocation import relocate
from unreid.clustering.hdc.sparse import SparseDistances, SparseHarmonicPass
from unreid.utils.errors import UserError


@dataclass(frozen=True)
class HDCOptions:
    """Numbers of one fit; the defaults are those of the published runs.

    Attributes:
        similarity: "euler_cosine", "cosine" or "euclidean", between samples and centroids.
        conf_scale: factor in ``exp(-conf_scale * d)``.
        min_iter: iterations before the stopping rule by shift counts.
        n_tol: iterations without a smaller shift that are tolerated.
        n_sigma: width of the adaptive peripheral rule.
        threshold: fixed peripheral threshold, or None for the adaptive rule.
        normalize_centroid: L2-normalise centroids in every iteration.
    """

    similarity: str = "euler_cosine"
    conf_scale: float = 5.0
    max_iter: int = 80
    min_iter: int = 10
    n_tol: int = 4
    n_sigma: float = 1.0
    threshold: float | None = None
    normalize_centroid: bool = False
    block: int = 1024


@dataclass(frozen=True)
class HDCState:
    """Outcome of one iteration.

    Attributes:
        iteration: 0-based.
        labels: int64 (N,), every sample in a cluster 0..C-1.
        core_labels: int64 (N,), the same with peripheral samples at -1.
        label_disc: float32 (N,), discrepancy of each sample to its cluster.
        centroids: float32 (C, D), means of the samples that are not peripheral.
        shift: squared displacement of the centroids, summed over all entries.
    """

    iteration: int
    labels: Tensor
    core_labels: Tensor
    label_disc: Tensor
    centroids: Tensor
    shift: float


def assign(hd: Tensor) -> tuple[Tensor, Tensor]:
    """Labels int64 (N,), argmin over clusters of hd (N, C) (lowest id on a tie), and ``hd[i, labels[i]]`` (N,)."""
    label_disc, labels = hd.min(1)
    return labels, label_disc


def membership(hd: Tensor, labels: Tensor) -> Tensor:
    """``(sum_l hd(i, l) - hd(i, y_i)) / (C - 1)``: membership of each sample in its own cluster (3C, HDC).

    Args:
        hd: float32 (N, C).
        labels: int64 (N,), 0..C-1.

    Returns:
        float64 (N,).
    """
    own = hd.gather(1, labels.unsqueeze(1)).squeeze(1)
    return (hd.sum(1, dtype=torch.float64) - own) / max(hd.shape[1] - 1, 1)


def iterate(
    features: Tensor,
    dist: Tensor | SparseDistances,
    labels: Tensor,
    centroids: Tensor,
    options: HDCOptions,
    *,
    overwrite_dist: bool = False,
) -> Iterator[HDCState]:
    """Yields the state after every iteration until the stopping rule holds (3C, HDC; arXiv 2408.09464).

    An iteration: confidences of the samples in their clusters; harmonic discrepancies; each sample to the cluster of
    least discrepancy; relocation into empty clusters; peripheral detection; centroids without peripheral samples. It
    stops when no centroid moves, or, from iteration ``min_iter`` on, when the shift has failed to fall below its best
    for more than ``n_tol`` iterations; the last state counts, not the best.

    Args:
        features: float32 (N, D).
        dist: float32 (N, N), symmetric: Jaccard distances, or normalised distances of the features; or the pairs of a
            graph, which are never overwritten.
        labels: int64 (N,), initial labels 0..C-1.
        centroids: float32 (C, D), initial centroids.
        options: see :class:`HDCOptions`.
        overwrite_dist: destroy ``dist`` instead of copying it; saves the only other N x N array.

    Raises:
        UserError: with fewer samples than clusters.
    """
    num_clusters = len(centroids)
    check_sizes(len(features), num_clusters)
    confidence = OwnConfidence(features, similarity=options.similarity, scale=options.conf_scale, block=options.block)
    harmonic: HarmonicPass | SparseHarmonicPass
    if isinstance(dist, SparseDistances):
        harmonic = SparseHarmonicPass(dist, num_clusters)
    else:
        disc = discrepancy_(dist if overwrite_dist else dist.clone(), options.block)
        harmonic = HarmonicPass(disc, num_clusters, block=options.block)
    stop = _StopRule(options.min_iter, options.n_tol)
    previous = None
    for iteration in range(options.max_iter):
        hd = harmonic(confidence(centroids, labels), labels)
        labels, label_disc = assign(hd)
        if int(torch.bincount(labels, minlength=num_clusters).min()) == 0:
            labels, label_disc = relocate(labels, membership(hd, labels), label_disc, hd)
        core_labels = detect_peripheral(
            labels, label_disc, num_clusters, n_sigma=options.n_sigma, threshold=options.threshold
        )
        old = centroids
        centroids = update_centroids(old, features, core_labels, previous, normalize=options.normalize_centroid)
        previous = core_labels
        shift = float((old - centroids).double().square().sum())
        yield HDCState(iteration, labels, core_labels, label_disc, centroids, shift)
        if stop(iteration, shift):
            return


def fit(
    features: Tensor,
    dist: Tensor | SparseDistances,
    labels: Tensor,
    centroids: Tensor,
    options: HDCOptions | None = None,
    *,
    overwrite_dist: bool = False,
) -> HDCState:
    """The last state of :func:`iterate`, with the same arguments."""
    states = iterate(features, dist, labels, centroids, options or HDCOptions(), overwrite_dist=overwrite_dist)
    last = deque(states, maxlen=1)
    if not last:
        raise ValueError("max_iter must be at least 1")
    return last[0]


def check_sizes(num_samples: int, num_clusters: int) -> None:
    """Raises :class:`UserError` when there are fewer samples than clusters."""
    if num_samples < num_clusters:
        raise UserError(
            f"HDC cannot make {num_clusters} clusters of {num_samples} samples: lower CLUSTER.NUM_CLUSTERS."
        )


class _StopRule:
    """Stops at shift 0, or when the shift keeps failing to improve after the first iterations."""

    def __init__(self, min_iter: int, n_tol: int) -> None:
        self._min_iter = min_iter
        self._n_tol = n_tol
        self._best = math.inf
        self._failures = 0

    def __call__(self, iteration: int, shift: float) -> bool:
        if shift == 0:
            return True
        if iteration < self._min_iter:
            return False
        if shift < self._best:
            self._best, self._failures = shift, 0
            return False
        self._failures += 1
        return self._failures > self._n_tol
