"""What ISE compares its support samples with, without multiplying them: they are sums of what is multiplied already.

With ``s = (f + a (c_near - c_own)) / n`` the products of all supports with the rows of a memory follow from those of
the features and of the differences of rows, of which a batch has few distinct ones; so does their gradient, which
reaches the features through one product instead of two.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unreid.utils.products import distinct, gram, products

SMALLEST = 1e-24  # square of the norm below which ``F.normalize`` divides by no norm


class SupportScores:
    """Dot products of features and supports, with gradient to ``features`` and ``scores``.

    Args:
        features: float (B, D), not necessarily of unit length.
        scores: (B, C), their products with the rows.
        rows: (C, D), without gradient.
        targets: int64 (B,).
        neighbors: int64 (B, k), rows that the supports were moved towards.
        degree: see :func:`~unreid.losses.support_samples.support_samples`, which gives the same supports as vectors.
    """

    def __init__(
        self, features: Tensor, scores: Tensor, rows: Tensor, targets: Tensor, neighbors: Tensor, *, degree: float
    ) -> None:
        self.features = features.to(scores.dtype)
        self.scores = scores
        self.share = 0.5 * degree
        self.per_sample = neighbors.shape[1]
        self.near = neighbors.flatten()
        self.own = targets.repeat_interleave(self.per_sample, output_size=len(self.near))
        pairs, self.place = distinct(self.own * len(rows) + self.near)
        difference = rows[pairs % len(rows)] - rows[torch.div(pairs, len(rows), rounding_mode="floor")]
        self.shifts = products(difference, rows)
        self.square = self.features.square().sum(1)
        length = difference.square().sum(1)
        towards = scores.gather(1, neighbors) - scores.gather(1, targets.unsqueeze(1))
        moved = self.square.unsqueeze(1) + 2.0 * self.share * towards
        moved = moved.flatten() + self.share**2 * (length if self.place is None else length[self.place])
        self.norm = moved.clamp(min=SMALLEST).sqrt()

    def with_rows(self) -> Tensor:
        """(B + B * k, C): cosines of the features, then of the supports, with the rows."""
        shift = self.shifts if self.place is None else self.shifts[self.place]
        made = (self._repeat(self.scores, 0) + self.share * shift) / self.norm.unsqueeze(1)
        return torch.cat((self.of_features(), made))

    def of_features(self) -> Tensor:
        """(B, C): cosines of the features alone."""
        return self.scores / self.square.clamp(min=SMALLEST).sqrt().unsqueeze(1)

    def with_features(self) -> Tensor:
        """(B, B * k): products of the features with the supports."""
        towards = self.scores.index_select(1, self.near) - self.scores.index_select(1, self.own)
        return (self._repeat(gram(self.features), 1) + self.share * towards) / self.norm

    def _repeat(self, values: Tensor, dim: int) -> Tensor:
        if self.per_sample == 1:
            return values
        size = self.per_sample * values.shape[dim]
        return values.repeat_interleave(self.per_sample, dim=dim, output_size=size)
