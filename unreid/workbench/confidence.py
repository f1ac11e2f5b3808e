"""How well an image fits its identity, and how well identities are told apart, from vectors and labels alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from unreid.evaluation.distance import row_slices


@dataclass(frozen=True)
class Fit:
    """Similarities of N images to identities; 0 for images without one, and where there is no other image or identity.

    Attributes:
        own: float32 (N,), cosine to the mean of the *other* images of the own identity.
        next: float32 (N,), largest cosine to the mean of another identity.
        alone: bool (N,), the identity has no other image.
    """

    own: Tensor
    next: Tensor
    alone: Tensor


def identity_means(vectors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Sums float32 (C, D) of the unit rows of identities 0..C-1, not normalised, and their sizes int64 (C,)."""
    inside = labels >= 0
    count = int(labels.max()) + 1 if bool(inside.any()) else 0
    sums = vectors.new_zeros(count, vectors.shape[1])
    sums.index_add_(0, labels[inside], normalize(vectors[inside]))
    return sums, torch.bincount(labels[inside], minlength=count)


def fit(vectors: Tensor, labels: Tensor, *, block: int | None = None) -> Fit:
    """How well N images fit their identities, in O(N C) time and O(block C) memory.

    Args:
        vectors: float32 (N, D).
        labels: int64 (N,), -1 for none, identities 0..C-1.
    """
    sums, sizes = identity_means(vectors, labels)
    means, n = normalize(sums), len(labels)
    own, nearest = vectors.new_zeros(n), vectors.new_zeros(n)
    alone = torch.zeros(n, dtype=torch.bool, device=vectors.device)
    inside = (labels >= 0).nonzero().squeeze(1)
    for rows in row_slices(len(inside), len(means), block=block):
        index = inside[rows]
        x, label = normalize(vectors[index]), labels[index]
        others = sums[label] - x
        own[index] = torch.where(sizes[label] > 1, (normalize(others) * x).sum(1), 0.0)
        alone[index] = sizes[label] == 1
        if len(means) > 1:
            cosine = x @ means.T
            nearest[index] = cosine.scatter(1, label.unsqueeze(1), -torch.inf).amax(1)
    return Fit(own, nearest, alone)


def confidences(vectors: Tensor, labels: Tensor) -> Tensor:
    """float32 (N,) in [0, 1]: max(0, (b - a) / max(a, b)); 0 without identity or for the only image of one.

    a and b are the Euclidean distances to the mean of the other images of the own identity and to the nearest mean of
    another one, all of unit length: the simplified silhouette of a sample, its own share taken out.
    """
    found = fit(vectors, labels)
    near, far = ((2 - 2 * cosine).clamp(min=0).sqrt() for cosine in (found.own, found.next))
    value = ((far - near) / torch.maximum(near, far).clamp(min=1e-12)).clamp(min=0)
    return value.masked_fill((labels < 0) | found.alone, 0.0)
