"""Clustering confidence of every sample in its own cluster."""

from __future__ import annotations

import torch
from torch import Tensor

from unreid.clustering.hdc.distances import build_similarity
from unreid.clustering.hdc.farthest import Farthest


class OwnConfidence:
    """``c_k = exp(-scale * d(x_k, mu_{y_k}))``, d the normalised distance of sample k to its own centroid (3C, HDC).

    Euler and Euclidean distances are divided by the largest distance between any sample and any centroid of the
    moment, which costs a product of all samples with all centroids. That maximum is kept per centroid and recomputed
    for the centroids that changed since the last call only; so are the distances of samples whose label and centroid
    stayed. The result is what a computation from scratch gives.

    Args:
        features: float (N, D).
        similarity: "euler_cosine", "cosine" or "euclidean".
        scale: factor of the distance in the exponent (the published code has 5).
    """

    def __init__(
        self, features: Tensor, *, similarity: str = "euler_cosine", scale: float = 5.0, block: int = 1024
    ) -> None:
        self._measure = build_similarity(similarity)
        self._samples = self._measure.encode(features)
        self._scale = scale
        self._block = block
        self._centroids: Tensor | None = None
        self._labels = torch.full((len(features),), -1, device=features.device)
        self._own = self._samples.matrix.new_zeros(len(features))
        self._farthest = Farthest(self._samples, self._measure, block)

    def __call__(self, centroids: Tensor, labels: Tensor) -> Tensor:
        """Confidences, float32 (N,) in [0, 1], for centroids (C, D) and labels int64 (N,) in 0..C-1."""
        if self._centroids is None or self._centroids.shape != centroids.shape:
            changed = torch.ones(len(centroids), dtype=torch.bool, device=centroids.device)
        else:
            changed = (self._centroids != centroids).any(1)
        table = self._measure.encode(centroids)
        rows = torch.nonzero(changed[labels] | (labels != self._labels)).squeeze(1)
        self._own[rows] = self._measure.paired(self._samples, table, rows, labels[rows], self._block)
        maximum = self._own.new_tensor(self._measure.maximum or 0.0)
        if self._measure.maximum is None:
            maximum = self._farthest(table, changed)
        self._centroids, self._labels = centroids.clone(), labels.clone()
        normalised = self._own / torch.where(maximum > 0, maximum, torch.ones_like(maximum))
        return torch.exp(-self._scale * normalised).clamp_(0, 1).nan_to_num_(nan=0.0)
