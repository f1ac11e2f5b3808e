"""Peripheral samples: members that lie too far out to count for their cluster's centroid."""

from __future__ import annotations

import torch
from torch import Tensor


def detect_peripheral(
    labels: Tensor, label_disc: Tensor, num_clusters: int, *, n_sigma: float = 1.0, threshold: float | None = None
) -> Tensor:
    """Labels with peripheral samples at -1 (3C, peripheral object detection).

    Without ``threshold``, a member is peripheral when its discrepancy exceeds the mean of its cluster by ``n_sigma``
    sample standard deviations; clusters of one are left alone. With ``threshold``, when it exceeds that number. Either
    way a cluster keeps its least discrepant member (lowest index on a tie): a fixed threshold could empty it.

    Args:
        labels: int64 (N,), 0..C-1.
        label_disc: float32 (N,), discrepancy of each sample to its own cluster.
        num_clusters: C.

    Returns:
        int64 (N,).
    """
    if threshold is None:
        limit = _adaptive_limits(labels, label_disc.double(), num_clusters, n_sigma)[labels].to(label_disc.dtype)
    else:
        limit = torch.full_like(label_disc, threshold)
    peripheral = (label_disc > limit) & ~_least(labels, label_disc, num_clusters)
    return labels.masked_fill(peripheral, -1)


def _adaptive_limits(labels: Tensor, value: Tensor, num_clusters: int, n_sigma: float) -> Tensor:
    """float64 (C,): mean + n_sigma * std (n - 1) of the members, in two passes; infinite for clusters of one."""
    counts = torch.bincount(labels, minlength=num_clusters)
    mean = value.new_zeros(num_clusters).index_add_(0, labels, value) / counts.clamp(min=1)
    squares = value.new_zeros(num_clusters).index_add_(0, labels, (value - mean[labels]).square())
    limit = mean + n_sigma * (squares / (counts - 1).clamp(min=1)).sqrt()
    return torch.where(counts > 1, limit, torch.inf)


def _least(labels: Tensor, label_disc: Tensor, num_clusters: int) -> Tensor:
    """bool (N,): the least discrepant member of each cluster."""
    order = torch.argsort(label_disc, stable=True)
    order = order[torch.argsort(labels[order], stable=True)]
    grouped = labels[order]
    first = torch.ones_like(grouped, dtype=torch.bool)
    first[1:] = grouped[1:] != grouped[:-1]
    least = torch.zeros_like(first)
    least[order[first]] = True
    return least
