"""What ISE compares its support samples with, without multiplying them: they are sums of what is multiplied already.

With ``s = (f + a (c_near - c_own)) / n`` the products of all supports with the rows of a memory follow from those of
the features and of the differences of rows, of which a batch has few distinct ones; so does their gradient, which
reaches the features through one product instead of two.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unreid.losses.support_samples import allowed_topk, nearest_of
from unreid.utils.products import distinct, gram, products

SMALLEST = 1e-24  # square of the norm below which ``F.normalize`` divides by no norm


class SupportScores:
    """Supports as :func:`~unreid.losses.support_samples.support_samples` makes them, and their dot products.

    Gradient flows to ``features`` and ``scores``.

    Args:
        features: float (B, D), not necessarily of unit length.
        scores: (B, C), their products with the rows.
        rows: (C, D), without gradient.
        targets: int64 (B,).
        degree, topk, clamp_topk: see there.

    Attributes:
        neighbors: int64 (B, k), rows that the supports were moved towards.
        targets: int64 (B * k,), of the supports.
    """

    def __init__(
        self,
        features: Tensor,
        scores: Tensor,
        rows: Tensor,
        targets: Tensor,
        *,
        degree: float,
        topk: int = 1,
        clamp_topk: bool = False,
    ) -> None:
        k = allowed_topk(len(rows), topk, clamp_topk)
        self.neighbors = neighbors = nearest_of(scores.detach(), targets, k)[1]
        self.features = features.to(scores.dtype)
        self.scores = scores
        self.share = 0.5 * degree
        self.per_sample = k
        self.near = neighbors.flatten()
        self.targets = targets.repeat_interleave(k, output_size=len(self.near))
        pairs, self.place = distinct(self.targets * len(rows) + self.near)
        self.rows = rows
        self.difference = rows[pairs % len(rows)] - rows[torch.div(pairs, len(rows), rounding_mode="floor")]
        self.square = torch.linalg.vecdot(self.features, self.features)
        length = torch.linalg.vecdot(self.difference, self.difference)
        towards = scores.gather(1, neighbors) - scores.gather(1, targets.unsqueeze(1))
        moved = self.square.unsqueeze(1) + 2.0 * self.share * towards
        self.norm = (moved.flatten() + self.share**2 * self._of_pairs(length)).clamp(min=SMALLEST).sqrt()

    def supports(self) -> Tensor:
        """(B * k, D), unit rows."""
        moved = torch.add(self._repeat(self.features, 0), self._of_pairs(self.difference), alpha=self.share)
        return moved / self.norm.unsqueeze(1)

    def with_rows(self) -> Tensor:
        """(B + B * k, C): cosines of the features, then of the supports, with the rows."""
        shift = self._of_pairs(products(self.difference, self.rows))
        made = torch.add(self._repeat(self.scores, 0), shift, alpha=self.share) / self.norm.unsqueeze(1)
        return torch.cat((self.of_features(), made))

    def of_features(self) -> Tensor:
        """(B, C): cosines of the features alone."""
        return self.scores / self.square.clamp(min=SMALLEST).sqrt().unsqueeze(1)

    def with_features(self) -> Tensor:
        """(B, B * k): products of the features with the supports."""
        towards = self.scores.index_select(1, self.near) - self.scores.index_select(1, self.targets)
        return (self._repeat(gram(self.features), 1) + self.share * towards) / self.norm

    def _of_pairs(self, values: Tensor) -> Tensor:
        return values if self.place is None else values[self.place]

    def _repeat(self, values: Tensor, dim: int) -> Tensor:
        if self.per_sample == 1:
            return values
        size = self.per_sample * values.shape[dim]
        return values.repeat_interleave(self.per_sample, dim=dim, output_size=size)
