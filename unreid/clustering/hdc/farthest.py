"""The largest distance between any sample and any centroid, by which Euler and Euclidean distances are divided."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unreid.clustering.hdc.distances import Encoded, Similarity
from unreid.neighbors.torch_search import has_fast_bf16

_FEWEST = 2**20  # pairs of a sample and a centroid from which on a rough product comes first
_UNIT = 2.0**-8  # unit roundoff of bfloat16


class Farthest:
    """Keeps the largest distance of every centroid, or bounds of it, from one call to the next.

    Only the largest of all is asked for. Where bfloat16 products are quick they bound the distances of the centroids
    that moved, and float32 products follow for the few whose bound reaches the largest distance that is known: the
    result is that of float32 products alone.
    """

    def __init__(self, samples: Encoded, measure: Similarity, block: int) -> None:
        self._samples, self._measure, self._block = samples, measure, block
        self._lower = self._upper = samples.matrix.new_zeros(0)
        self._rough: Encoded | None = None

    def __call__(self, table: Encoded, changed: Tensor) -> Tensor:
        """float32 (): the largest distance, for encoded centroids (C) of which those ``changed``, bool (C,), moved."""
        if len(self._lower) != len(table):
            self._lower = self._samples.matrix.new_zeros(len(table))
            self._upper = torch.zeros_like(self._lower)
        moved = torch.nonzero(changed).squeeze(1)
        if self._measure.rough and len(self._samples) * len(moved) >= _FEWEST and has_fast_bf16(changed.device):
            self._bound(table, moved)
            moved = torch.nonzero((self._upper >= self._lower.max()) & (self._upper > self._lower)).squeeze(1)
        if len(moved):
            self._lower[moved] = self._upper[moved] = self._largest(self._samples, table.select(moved))
        return self._lower.max()

    def _largest(self, samples: Encoded, centroids: Encoded) -> Tensor:
        farthest = self._lower.new_zeros(len(centroids))
        for start in range(0, len(samples), self._block):
            distance = self._measure.cross(samples[start : start + self._block], centroids)
            farthest = torch.maximum(farthest, distance.amax(0))
        return farthest

    def _bound(self, table: Encoded, moved: Tensor) -> None:
        """Bounds from products in bfloat16.

        With rows a + r and b + s, a and b the rounded ones, an entry of a product errs by at most ``|r| |b + s| + |a|
        |s|``, by ``g |a| |b|`` while it accumulates in float32 and by its own rounding; a distance is the modulus of
        two entries.
        """
        centroids = table.select(moved)
        if self._rough is None:
            self._rough = Encoded(self._samples.matrix.bfloat16(), self._samples.offset)
            parts = self._samples.matrix.split(self._block)
            self._lost = torch.stack([_norms(part - part.bfloat16().float()).max() for part in parts]).max()
            self._norm = _norms(self._samples.matrix).max()
        rough = Encoded(centroids.matrix.bfloat16(), centroids.offset)
        norm, lost = _norms(centroids.matrix), _norms(centroids.matrix - rough.matrix.float())
        growth = 4 * table.matrix.shape[1] * 2.0**-24  # of this product and of the one in float32
        error = self._lost * norm + self._norm * lost + (1.02 * _UNIT + growth) * self._norm * norm
        error = 1.01 * math.sqrt(2) * error
        largest = self._largest(self._rough, rough)
        self._lower[moved], self._upper[moved] = largest - error, largest + error


def _norms(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=1)
