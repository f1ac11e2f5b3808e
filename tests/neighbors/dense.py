"""Slow oracles: the distance written down from its definition, in float64 and with Python sets."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def neighbor_lists(x: np.ndarray, width: int) -> np.ndarray:
    """int (N, width): the row itself, then ascending (squared distance, index)."""
    key = ((x[:, None, :] - x[None, :, :]) ** 2).sum(-1)
    np.fill_diagonal(key, -1.0)
    return np.argsort(key, axis=1, kind="stable")[:, :width]


def dense_jaccard(
    features: Tensor, k1: int, k2: int, k1_includes_self: bool = True, lists: np.ndarray | None = None
) -> np.ndarray:
    """float64 (N, N): the k-reciprocal Jaccard distance, set by set and sum by sum."""
    x = features.double().numpy()
    n = len(x)
    width = min(k1 if k1_includes_self else k1 + 1, n)
    half = min(round(k1 / 2) + 1, width)
    lists = neighbor_lists(x, width) if lists is None else lists[:, :width]

    def reciprocal(i: int, m: int) -> set[int]:
        return {int(j) for j in lists[i, :m] if i in lists[j, :m]}

    full = [reciprocal(i, width) for i in range(n)]
    short = [reciprocal(i, half) for i in range(n)]
    weight = np.zeros((n, n))
    for i in range(n):
        support = set(full[i])
        for q in full[i]:
            if 3 * len(short[q] & full[i]) > 2 * len(short[q]):
                support |= short[q]
        members = sorted(support)
        if members:
            logits = 2 * x[members] @ x[i] - 2
            weight[i, members] = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    if k2 > 1:
        weight = np.stack([weight[lists[i, : min(k2, n)]].mean(0) for i in range(n)])
    shared = np.minimum(weight[:, None, :], weight[None, :, :]).sum(-1)
    return np.maximum(0.0, 1 - shared / (2 - shared))


def as_graph_matrix(distance: np.ndarray, limit: float) -> torch.Tensor:
    """The matrix that a graph with this limit turns into: entries beyond it are 1."""
    return torch.from_numpy(np.where(distance <= limit, distance, 1.0)).float()
