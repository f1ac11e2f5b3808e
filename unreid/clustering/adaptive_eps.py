"""AuxUSL's adaptive DBSCAN radius: the mean of the smallest distances (arXiv 2205.03124)."""

from __future__ import annotations

import logging

import torch

from unreid.structures import PairGraph
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)


def adaptive_eps(graph: PairGraph, *, rho: float = 1.6e-3, zero_tol: float = 1e-6) -> float:
    """Mean of the ``round(rho * n)`` smallest of the n distances above ``zero_tol``, over all unordered pairs.

    The graph must hold every pair below 1. Pairs that it does not hold are at distance 1, or beyond when its distances
    were raised (SCP, STS): how far is unknown, and they must not be among the smallest then.

    Args:
        graph: built with the largest radius.
        rho: share of the pairs, roughly that of same-identity pairs.
        zero_tol: distances up to this do not count (duplicates; rounding noise would let eps collapse). 0: the
            published rule, which drops exact zeros only.

    Raises:
        UserError: nothing is left to average, or raised distances beyond those of the graph would be needed.
    """
    stored = graph.dist[graph.dist > zero_tol]
    counted = graph.n * (graph.n - 1) // 2 - (len(graph) - len(stored))
    count = round(rho * counted)
    if count < 1:
        raise UserError(
            f"The adaptive eps has nothing to average: CLUSTER.RHO {rho} of {counted} distances is less than one; "
            "raise CLUSTER.RHO, or set CLUSTER.ADAPTIVE False and choose CLUSTER.EPS."
        )
    stored = stored[stored <= 1]
    missing = count - len(stored)
    smallest = stored if missing >= 0 else torch.topk(stored, count, largest=False, sorted=False).values
    if missing > 0:
        if bool((graph.dist > 1).any()):
            raise UserError(
                f"The adaptive eps needs {missing} pairs without a common neighbour, whose distances SCP or STS raised "
                "by an unknown amount: lower CLUSTER.RHO, or set CLUSTER.ADAPTIVE False and choose CLUSTER.EPS."
            )
        logger.warning(
            "the adaptive eps averages %d pairs without a common neighbour: with %d samples a smaller CLUSTER.RHO fits",
            missing,
            graph.n,
        )
    return float((smallest.double().sum() + max(missing, 0)) / count)
