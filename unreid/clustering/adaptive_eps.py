"""AuxUSL's adaptive DBSCAN radius: the mean of the smallest distances (arXiv 2205.03124; SpCL's and MMT's habit)."""

from __future__ import annotations

import logging

import torch

from unreid.structures import PairGraph
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)


def adaptive_eps(
    graph: PairGraph, *, rho: float = 1.6e-3, zero_tol: float = 1e-6, beyond: torch.Tensor | float = 1.0
) -> float:
    """Mean of the ``round(rho * n)`` smallest of the n distances above ``zero_tol``, over all unordered pairs.

    The graph must hold every pair below 1 (its radius): pairs it does not hold are at distance 1, so they are counted
    without being stored.

    Args:
        graph: built with the largest radius.
        rho: share of the pairs, roughly that of same-identity pairs.
        zero_tol: distances up to this do not count (duplicates; rounding noise would let eps collapse). 0: the
            published rule, which drops exact zeros only.
        beyond: distance of a pair that is not stored, for graphs whose distances were modified.

    Raises:
        UserError: nothing is left to average.
    """
    stored = graph.dist[graph.dist > zero_tol]
    pairs = graph.n * (graph.n - 1) // 2
    counted = pairs - (len(graph) - len(stored))
    count = round(rho * counted)
    if count < 1:
        raise UserError(
            f"The adaptive eps has nothing to average: CLUSTER.RHO {rho} of {counted} distances is less than one; "
            "raise CLUSTER.RHO, or set CLUSTER.ADAPTIVE False and choose CLUSTER.EPS."
        )
    smallest = torch.topk(stored.double(), min(count, len(stored)), largest=False).values
    missing = count - len(smallest)
    if missing:
        logger.warning(
            "the adaptive eps averages %d pairs without a common neighbour: with %d samples a smaller CLUSTER.RHO fits",
            missing,
            graph.n,
        )
    return float((smallest.sum() + missing * float(beyond)) / count)
