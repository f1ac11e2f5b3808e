"""The nearest clusters of every cluster: who shares the smoothing mass of RLSCE."""

from __future__ import annotations

import torch
from torch import Tensor

from unreid.neighbors.jaccard import MAX_RADIUS, jaccard_graph
from unreid.structures import PairGraph
from unreid.utils.arrays import ArrayLike, as_rows

RESOLUTION = 1e-6  # distances of raw features take few values; closer ones differ by rounding only and are ties
BLOCK_ENTRIES = 1 << 23


@torch.no_grad()
def nearest_clusters(centres: ArrayLike, k: int, *, k1: int = 30, k2: int = 6, backend: str = "auto") -> Tensor:
    """The ``k`` nearest other clusters of each, by the Jaccard distance of their centres (AuxUSL, arXiv 2205.03124).

    Ties go to the lowest number; clusters whose neighbourhoods do not meet are all at distance 1. Memory is one block
    of rows, not C x C.

    Args:
        centres: float (C, D), as clustered (AuxUSL: not normalised).
        k: ``MODEL.LOSSES.ID_K``.
        k1, k2: of the Jaccard distance; lowered to C where there are fewer clusters.
        backend: see :func:`~unreid.neighbors.jaccard_graph`.

    Returns:
        int64 (C, min(k, C - 1)), nearest first, on the device of ``centres``.
    """
    centres = as_rows(centres, "centres")
    count = len(centres)
    k1 = min(k1, count)
    k = min(k, count - 1)
    if k < 1:
        return torch.empty(count, 0, dtype=torch.int64, device=centres.device)
    graph = jaccard_graph(centres, k1=k1, k2=min(k2, k1), radius=MAX_RADIUS, backend=backend)
    step = max(1, BLOCK_ENTRIES // count)
    rows = (_rows(graph, start, min(start + step, count)) for start in range(0, count, step))
    blocks = [block.argsort(dim=1, stable=True)[:, 1 : k + 1] for block in rows]
    return torch.cat(blocks)


def _rows(graph: PairGraph, start: int, stop: int) -> Tensor:
    """Dense rows ``start..stop`` of the distance matrix; a cluster's own entry lies below all others."""
    block = torch.ones(stop - start, graph.n, device=graph.dist.device)
    for row, column in ((graph.i, graph.j), (graph.j, graph.i)):
        inside = (row >= start) & (row < stop)
        block[row[inside] - start, column[inside]] = graph.dist[inside]
    block.div_(RESOLUTION).round_()
    own = torch.arange(start, stop, device=block.device)
    block[own - start, own] = -1.0
    return block
