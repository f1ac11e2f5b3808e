"""The textbook N x N way to pseudo labels: what the sparse graph replaces."""

from __future__ import annotations

import numpy as np


def dense_jaccard(features: np.ndarray, index: np.ndarray, k1: int, k2: int) -> np.ndarray:
    """float32 (N, N) k-reciprocal Jaccard distances, row by row as the published routines compute them.

    Args:
        features: float32 (N, D).
        index: int (N, k1), exact neighbour lists, self first.
    """
    n = len(features)
    half = round(k1 / 2) + 1

    def reciprocal(i: int, m: int) -> np.ndarray:
        forward = index[i, :m]
        return forward[np.where(index[forward, :m] == i)[0]]

    full_sets = [reciprocal(i, index.shape[1]) for i in range(n)]
    half_sets = [reciprocal(i, half) for i in range(n)]
    weights = np.zeros((n, n), np.float32)
    for i in range(n):
        support = full_sets[i]
        for candidate in full_sets[i]:
            other = half_sets[candidate]
            if 3 * len(np.intersect1d(other, full_sets[i])) > 2 * len(other):
                support = np.append(support, other)
        support = np.unique(support)
        logit = 2 * features[support] @ features[i] - 2
        weight = np.exp(logit - logit.max())
        weights[i, support] = weight / weight.sum()
    if k2 > 1:
        mean = np.zeros_like(weights)
        for i in range(n):
            mean[i] = weights[index[i, :k2]].mean(axis=0)
        weights = mean
    owners = [np.where(weights[:, column] != 0)[0] for column in range(n)]
    distance = np.zeros((n, n), np.float32)
    for i in range(n):
        minimum = np.zeros(n, np.float32)
        for column in np.where(weights[i] != 0)[0]:
            rows = owners[column]
            minimum[rows] += np.minimum(weights[i, column], weights[rows, column])
        distance[i] = 1 - minimum / (2 - minimum)
    return np.maximum(distance, 0, out=distance)


def dense_labels(distance: np.ndarray, eps: float, min_samples: int) -> np.ndarray:
    """Labels by scikit-learn on the matrix."""
    from sklearn.cluster import DBSCAN

    return DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit_predict(distance)
