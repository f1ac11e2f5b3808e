"""ISE's support samples: real features moved a little towards the nearest other clusters (CVPR 2022)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from unreid.utils.arrays import ArrayLike, as_batch, as_rows
from unreid.utils.errors import UserError
from unreid.utils.products import products


class Supports(NamedTuple):
    """Support samples, sample-major: ``s_11 .. s_1k, s_21 ..``.

    Attributes:
        features: float (B * k, D), unit rows, with gradient to the real features.
        targets: int64 (B * k,), labels of the real samples.
        neighbors: int64 (B, k), rows they were moved towards, nearest first.
        similarity: float (B, k), dot products of the real features with these rows; no gradient.
    """

    features: Tensor
    targets: Tensor
    neighbors: Tensor
    similarity: Tensor


def interpolation_degree(step: float, total_steps: float, base: float = 1.0) -> float:
    """Degree ``lam(t) = 0.5 base ln(1 + (e - 1) t / T)`` of the progressive linear interpolation.

    It grows from 0 to 0.5 * base. Supports move by *half* of it, as published: at most a quarter of the way for base 1.

    Args:
        step: t, optimiser steps done since the start of training (a resumed run goes on counting).
        total_steps: T, the planned number of steps, also in a run that is cut short.
        base: ``support_base_lambda``.
    """
    return 0.5 * base * math.log1p((math.e - 1.0) * step / total_steps)


def nearest_of(similarity: Tensor, targets: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest entries of every row but its target: values and columns (B, k), best first; (B, C), (B,)."""
    with torch.no_grad():
        values, columns = similarity.scatter(1, targets.unsqueeze(1), -torch.inf).topk(k, dim=1)
    return values, columns


def allowed_topk(clusters: int, topk: int, clamp_topk: bool) -> int:
    """Supports per sample that ``clusters`` clusters allow; raises :class:`UserError` where that is not enough."""
    k = min(topk, clusters - 1) if clamp_topk else topk
    if not 1 <= k < clusters:
        raise UserError(
            f"METHOD.ISE.TOPK = {topk} needs at least {max(topk, 1) + 1} clusters, but this round has {clusters}: "
            "lower it, switch METHOD.ISE.CLAMP_TOPK on, or change CLUSTER.EPS so that more clusters form."
        )
    return k


def support_samples(
    features: ArrayLike,
    rows: ArrayLike,
    targets: ArrayLike,
    *,
    degree: float,
    topk: int = 1,
    clamp_topk: bool = False,
) -> Supports:
    """``s = normalise(f + 0.5 degree (c_near - c_own))`` for the topk nearest other clusters of every sample.

    The rows carry no gradient and the neighbour search is detached; ``f`` inside a support is not, so losses on
    supports reach the encoder.

    Args:
        features: (B, D), L2-normalised. Computed in float32, also under autocast.
        rows: (C, D), one row a cluster (``memory.rows``).
        targets: int64 (B,) in [0, C).
        degree: see :func:`interpolation_degree`.
        topk: supports per sample.
        clamp_topk: with fewer than topk + 1 clusters use all the others instead of stopping.

    Raises:
        UserError: there are fewer than topk other clusters and ``clamp_topk`` is off, or there is only one cluster.
    """
    features, targets = as_batch(features, targets)
    rows = as_rows(rows, "rows", features.shape[1])
    k = allowed_topk(len(rows), topk, clamp_topk)
    with torch.autocast(features.device.type, enabled=False):
        features = features.to(rows.dtype)
        rows = rows.detach()
        similarity, neighbors = nearest_of(products(features.detach(), rows), targets, k)
        direction = rows[neighbors] - rows[targets].unsqueeze(1)
        moved = features.unsqueeze(1) + 0.5 * degree * direction
        supports = F.normalize(moved, dim=-1).flatten(0, 1)
    return Supports(supports, targets.repeat_interleave(k), neighbors, similarity)
