"""Intersection over union of the label-mates that two labelings give a sample; shared by CDSM and SpCL."""

from __future__ import annotations

import torch
from torch import Tensor


def with_own_labels(labels: Tensor) -> Tensor:
    """Labels int64 (N,) in which every outlier (-1) has a class of its own, after the clusters, in sample order."""
    outlier = labels < 0
    first = labels.max().clamp(min=-1) + 1 if len(labels) else 0
    return torch.where(outlier, first + outlier.cumsum(0) - 1, labels)


def label_mate_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of the samples that share i's label in two labelings (i included).

    ``IoU = n_ab / (n_a + n_b - n_ab)`` with the contingency counts of the labels a, b of sample i: O(N) memory and a
    sort, instead of two N x N label matrices.

    Args:
        first, second: int64 (N,), without negatives.

    Returns:
        float64 (N,) in (0, 1].
    """
    _, pair, together = torch.unique(torch.stack((first, second)), dim=1, return_inverse=True, return_counts=True)
    both = together[pair]
    alone = torch.bincount(first)[first] + torch.bincount(second)[second]
    return both.double() / (alone - both).double()
