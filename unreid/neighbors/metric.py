"""Pair graphs of plain distances between features."""

from __future__ import annotations

import logging

import torch
from torch.nn.functional import normalize

from unreid.neighbors.rescoring import squared_distances
from unreid.neighbors.torch_search import Scorer, full_precision
from unreid.structures import PairGraph
from unreid.utils.arrays import ArrayLike, as_features
from unreid.utils.errors import UserError
from unreid.utils.progress import tracked

logger = logging.getLogger(__name__)

METRICS = ("euclidean", "cosine")
_SCORE_BYTES = {"cpu": 48 * 2**20, "cuda": 2**30}  # scores held at once
_MANY = 2000  # neighbours per sample that are suspicious


@torch.no_grad()
def metric_graph(features: ArrayLike, *, metric: str, radius: float, tol: float = 1e-6) -> PairGraph:
    """All pairs with Euclidean distance, or cosine distance ``1 - cos``, up to ``radius + tol``.

    Matrix products, with a bound on their rounding, propose the pairs; their distances are then computed pair by pair,
    so that the graph does not depend on blocks. Memory is that of the pairs found: the radius must be one that keeps
    neighbourhoods small.

    Args:
        features: (N, D), any device.
        metric: "euclidean" or "cosine".
        radius: largest distance, positive.
        tol: added to the radius.

    Raises:
        InputError: features that are not finite numbers (N, D).
        UserError: an unknown metric, or a radius that is not positive.
    """
    if metric not in METRICS:
        raise UserError(f"CLUSTER.METRIC must be jaccard, {' or '.join(METRICS)}, not {metric!r}.")
    if radius <= 0:
        raise UserError(f"A {metric} graph needs a positive radius (CLUSTER.EPS), not {radius}.")
    rows = as_features(features)
    limit = radius + tol
    if metric == "cosine":
        rows = normalize(rows, dim=1)
    n = len(rows)
    scorer = Scorer.of(rows, torch.float32)
    square_limit = rows.new_tensor(2 * limit if metric == "cosine" else limit**2)
    block = max(1, _SCORE_BYTES.get(rows.device.type, 2**26) // (4 * n))
    found = []
    starts = range(0, n, block)
    for start in tracked(starts, "neighbours", len(starts), "blocks"):
        mine = torch.arange(start, min(start + block, n), device=rows.device)
        with full_precision():
            scores = scorer.scores(mine, start, n)
        i, j = (scores <= scorer.limit(mine, square_limit)[:, None]).triu_(1).nonzero(as_tuple=True)
        i, j = i + start, j + start
        square = squared_distances(rows, i, j)
        dist = square / 2 if metric == "cosine" else square.sqrt()
        keep = dist <= limit
        found.append((i[keep], j[keep], dist[keep]))
    i, j, dist = (torch.cat(part) for part in zip(*found))
    if len(i) > _MANY * n:
        logger.warning("a %s radius of %g gives %.0f pairs per sample: lower CLUSTER.EPS", metric, radius, len(i) / n)
    return PairGraph(n, i, j, dist, radius, torch.zeros(n, device=rows.device))
