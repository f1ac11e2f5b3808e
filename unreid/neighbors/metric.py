"""Pair graphs of plain distances between features."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unreid.neighbors.torch_search import full_precision
from unreid.structures import PairGraph
from unreid.utils.errors import UserError

METRICS = ("euclidean", "cosine")
_BLOCK_ENTRIES = 2**24  # distances held at once


@torch.no_grad()
def metric_graph(features: Tensor, *, metric: str, radius: float, tol: float = 1e-6) -> PairGraph:
    """All pairs with Euclidean distance, or cosine distance ``1 - cos``, up to ``radius + tol``.

    Memory is that of the pairs found, so the radius must be one that keeps neighbourhoods small.

    Args:
        features: float (N, D).
        metric: "euclidean" or "cosine".

    Raises:
        UserError: an unknown metric, or a radius that is not positive.
    """
    if metric not in METRICS:
        raise UserError(f"CLUSTER.METRIC must be jaccard, {' or '.join(METRICS)}, not {metric!r}.")
    if radius <= 0:
        raise UserError(f"A {metric} graph needs a positive radius (CLUSTER.EPS), not {radius}.")
    rows = features.detach().float()
    if metric == "cosine":
        rows = F.normalize(rows, dim=1)
    n = len(rows)
    block = max(1, _BLOCK_ENTRIES // max(n, 1))
    found = [_pairs(rows, start, min(start + block, n), metric, radius + tol) for start in range(0, n, block)]
    i, j, dist = (torch.cat(parts) for parts in zip(*found)) if found else (rows.new_empty(0),) * 3
    return PairGraph(n, i.long(), j.long(), dist, radius, torch.zeros(n, device=rows.device))


def _pairs(rows: Tensor, start: int, stop: int, metric: str, limit: float) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs i < j with i in [start, stop); distances of the few found are recomputed pair by pair, exactly."""
    with full_precision():
        products = rows[start:stop] @ rows[start:].T
    square = rows.square().sum(1)
    if metric == "cosine":
        rough, slack = 1.0 - products, 1e-5
    else:
        rough = (square[start:stop, None] + square[None, start:] - 2 * products).clamp(min=0).sqrt()
        slack = 1e-3 * float(square.max().sqrt())
    i, j = torch.nonzero(torch.triu(rough <= limit + slack, diagonal=1), as_tuple=True)
    i, j = i + start, j + start
    if metric == "cosine":
        dist = (1.0 - (rows[i] * rows[j]).sum(1)).clamp(min=0)
    else:
        dist = (rows[i] - rows[j]).square().sum(1).sqrt()
    keep = dist <= limit
    return i[keep], j[keep], dist[keep]
