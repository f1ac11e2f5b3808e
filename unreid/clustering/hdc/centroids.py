"""Centroids of HDC's clusters."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unreid.utils.means import segment_means


def update_centroids(
    centroids: Tensor, features: Tensor, labels: Tensor, previous: Tensor | None, *, normalize: bool = False
) -> Tensor:
    """New centroids (C, D) for ``labels``, -1 left out; rows whose members did not change are copied bit for bit.

    That spares most of the work near convergence and makes "nothing moved" exact on every device.

    Args:
        centroids: float32 (C, D), the centroids that belong to ``previous``.
        features: float (N, D).
        labels: int64 (N,), peripheral samples at -1.
        previous: labels of the last iteration, or None to compute every row.
    """
    num_clusters = len(centroids)
    if previous is None:
        touched = torch.ones(num_clusters, dtype=torch.bool, device=labels.device)
    else:
        flags = torch.zeros(num_clusters + 1, dtype=torch.bool, device=labels.device)  # the last entry is label -1
        moved = labels != previous
        flags[labels[moved]] = True
        flags[previous[moved]] = True
        touched = flags[:-1]
    if not bool(touched.any()):
        return centroids
    subset = torch.nonzero((labels >= 0) & touched[labels]).squeeze(1)
    means, _ = segment_means(features[subset], labels[subset], num_clusters, dtype=torch.float32)
    if normalize:
        means = F.normalize(means, dim=1)
    return torch.where(touched.unsqueeze(1), means, centroids)
