"""Refilling empty clusters."""

from __future__ import annotations

import torch
from torch import Tensor

PROTECT_BELOW = 5  # members of clusters smaller than this are moved only when nobody else is left
_MAX_PASSES = 100


def relocate(labels: Tensor, label_membership: Tensor, label_disc: Tensor, hd: Tensor) -> tuple[Tensor, Tensor]:
    """Moves the samples that belong least to their cluster into the empty clusters, one each (3C, HDC).

    In a pass, the E samples of lowest membership (then lowest index) go to the E empty clusters in ascending order;
    members of clusters with fewer than ``PROTECT_BELOW`` samples count as membership 1. A pass may empty another
    cluster, so passes repeat until none is empty. The published procedure can cycle when most clusters are small;
    after 100 passes every cluster therefore keeps its member of highest membership and only the others move.

    Args:
        labels: int64 (N,), 0..C-1.
        label_membership: float (N,), membership of each sample in its own cluster; never recomputed.
        label_disc: float32 (N,), ``hd[i, labels[i]]``.
        hd: float32 (N, C).

    Returns:
        new labels and label_disc; a moved sample takes ``hd`` of its new cluster. The inputs are left alone.

    Raises:
        ValueError: when there are fewer samples than clusters.
    """
    n, num_clusters = hd.shape
    if n < num_clusters:
        raise ValueError(f"{n} samples cannot fill {num_clusters} clusters")
    counts = torch.bincount(labels, minlength=num_clusters)
    if bool((counts > 0).all()):
        return labels, label_disc
    new, membership = labels.cpu().clone(), label_membership.cpu()
    for _ in range(_MAX_PASSES):
        counts = torch.bincount(new, minlength=num_clusters)
        empty = torch.nonzero(counts == 0).squeeze(1)
        if not len(empty):
            break
        protected = counts[new] < PROTECT_BELOW
        order = torch.argsort(torch.where(protected, 1.0, membership.double()), stable=True)
        new[order[: len(empty)]] = empty
    else:
        _fill_from_larger(new, membership, num_clusters)
    new = new.to(labels.device)
    at_new = hd.gather(1, new.unsqueeze(1)).squeeze(1)
    return new, torch.where(new != labels, at_new, label_disc)


def _fill_from_larger(labels: Tensor, membership: Tensor, num_clusters: int) -> None:
    """Fills empty clusters in place without emptying another: the last of each cluster in the order of moving stays."""
    empty = torch.nonzero(torch.bincount(labels, minlength=num_clusters) == 0).squeeze(1)
    order = torch.argsort(membership, stable=True)
    by_cluster = order[torch.argsort(labels[order], stable=True)]
    sorted_labels = labels[by_cluster]
    last = torch.ones(len(labels), dtype=torch.bool)
    last[:-1] = sorted_labels[1:] != sorted_labels[:-1]
    keeps = torch.zeros(len(labels), dtype=torch.bool)
    keeps[by_cluster[last]] = True
    movable = order[~keeps[order]]
    labels[movable[: len(empty)]] = empty
