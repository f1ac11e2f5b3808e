"""Distances between query and gallery features, computed in blocks of query rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from unreid.neighbors.torch_search import full_precision
from unreid.utils.arrays import ArrayLike, as_rows
from unreid.utils.errors import InputError
from unreid.utils.products import products
from unreid.utils.progress import tracked

METRICS = ("squared_euclidean", "euclidean", "cosine")
BLOCK_ENTRIES = 1 << 21
"""Entries of a block when the caller does not say otherwise: 8 MiB of float32, which the heap reuses between blocks."""

RowBlocks = Callable[[slice], Tensor]
"""Gives rows ``slice`` of a matrix that is never stored as a whole."""


class DistanceModifier(Protocol):
    """Changes query x gallery distances by what is known about the two tracklets (TOC, STS, SCP)."""

    def apply(self, block: Tensor, rows: slice) -> Tensor:
        """The changed distances of query rows ``rows``; ``block`` is float32 (rows, G) and may be overwritten."""


def pairwise_distance(x: ArrayLike, y: ArrayLike | None = None, metric: str = "squared_euclidean") -> Tensor:
    """Distances between the rows of two feature matrices.

    Args:
        x: (N, D).
        y: (M, D), on the device of ``x``; None: ``x``.
        metric: "squared_euclidean" (what the published evaluators rank by), "euclidean" or "cosine" (1 - cosine).

    Returns:
        float32 (N, M), never negative.

    Raises:
        ValueError: unknown metric, or shapes that do not fit.

    Example:
        >>> pairwise_distance([[0.0, 3.0]], [[4.0, 0.0]], "euclidean")
        tensor([[5.]])
    """
    blocks = DistanceBlocks(x, x if y is None else y, metric)
    return blocks(slice(0, blocks.shape[0]))


class DistanceBlocks:
    """The query x gallery distance matrix as a function of a row slice, so that it need not be stored.

    Args:
        query: (Q, D).
        gallery: (G, D), on the same device.
        metric: see :func:`pairwise_distance`.
        modifiers: applied to every block, in this order.
    """

    def __init__(
        self,
        query: ArrayLike,
        gallery: ArrayLike,
        metric: str = "squared_euclidean",
        modifiers: Sequence[DistanceModifier] = (),
    ) -> None:
        if metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}, not {metric!r}")
        query, gallery = as_rows(query, "query features"), as_rows(gallery, "gallery features")
        if query.shape[1] != gallery.shape[1]:
            shapes = f"{tuple(query.shape)} and {tuple(gallery.shape)}"
            raise InputError(f"features must be numbers of shape (Q, D) and (G, D), not {shapes}.")
        query, gallery = query.detach().float(), gallery.detach().float()
        if metric == "cosine":
            query, gallery = torch.nn.functional.normalize(query), torch.nn.functional.normalize(gallery)
        self.metric = metric
        self.modifiers = tuple(modifiers)
        self.shape = (len(query), len(gallery))
        self._query, self._gallery = query, gallery
        self._query_norm = query.square().sum(1, keepdim=True)
        self._gallery_norm = gallery.square().sum(1)

    def __call__(self, rows: slice) -> Tensor:
        """float32 (rows, G), a fresh tensor."""
        with full_precision():
            block = products(self._query[rows], self._gallery)
        if self.metric == "cosine":
            block.neg_().add_(1.0).clamp_(min=0.0)
        else:
            block.mul_(-2.0).add_(self._query_norm[rows]).add_(self._gallery_norm).clamp_(min=0.0)
            if self.metric == "euclidean":
                block.sqrt_()
        for modifier in self.modifiers:
            block = modifier.apply(block, rows)
        return block

    def dense(self) -> Tensor:
        """The whole matrix, float32 (Q, G)."""
        out = self._query.new_empty(self.shape)
        for rows in row_slices(*self.shape):
            out[rows] = self(rows)
        return out


def row_slices(rows: int, columns: int, block: int | None = None) -> Iterator[slice]:
    """Cuts ``rows`` into slices of ``block`` rows (default: so many that a block has ``BLOCK_ENTRIES`` entries)."""
    step = block or max(1, BLOCK_ENTRIES // max(1, columns))
    starts = range(0, rows, step)
    for start in tracked(starts, "distances", len(starts), "blocks"):
        yield slice(start, min(start + step, rows))
