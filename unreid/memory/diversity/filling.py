"""First content of CDSM's diversity memory (SMC 2022): blocks of rows drawn from the members of every cluster.

A filler gets the features (N, D), int64 labels (N,), a core mask (N,) or None, given centroids (C, D) or None, the
sizes C and S and a generator, and returns (blocks, C, D) before normalisation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unreid.memory.grouping import rank_in_class
from unreid.utils.means import segment_means


@dataclass(frozen=True)
class Members:
    """What a filler sees of a clustering, all on one device.

    Attributes:
        features: float (N, D).
        labels: int64 (N,), -1 outlier.
        core: bool (N,) or None, when every member counts as core.
        centroids: float (C, D) or None, to be used instead of means over all members.
        clusters: C.
        slots: S.
        generator: CPU generator of the filler's draws.
    """

    features: Tensor
    labels: Tensor
    core: Tensor | None
    centroids: Tensor | None
    clusters: int
    slots: int
    generator: torch.Generator


Filler = Callable[[Members], Tensor]


def mean_block(members: Members) -> Tensor:
    """One block: the mean of all images of each cluster (CM, CMhard)."""
    if members.centroids is not None:
        return members.centroids.unsqueeze(0)
    return segment_means(members.features, members.labels, members.clusters)[0].unsqueeze(0)


def two_mean_blocks(members: Members) -> Tensor:
    """Two equal blocks, hard and mean (CMhybrid)."""
    return mean_block(members).expand(2, -1, -1).clone()


def mean_with_random_members(members: Members) -> Tensor:
    """The mean, then S images of each cluster drawn with replacement (v2)."""
    counts = torch.bincount(members.labels[members.labels >= 0], minlength=members.clusters).cpu()
    draws = torch.rand(members.slots, members.clusters, generator=members.generator, dtype=torch.float64)
    rank = (draws * counts).long().to(members.labels.device)
    order = torch.argsort(members.labels, stable=True)
    first = (members.labels < 0).sum() + (counts.cumsum(0) - counts).to(order.device)
    return torch.cat((mean_block(members), members.features[order[first + rank]]))


def chunks_of_all(members: Members) -> Tensor:
    """S chunk means over all images of each cluster (v3)."""
    means, _ = segment_means(members.features, members.labels, members.clusters)
    return chunk_means(members.features, members.labels, means, members.slots)


def core_mean_with_core_chunks(members: Members) -> Tensor:
    """The mean of each cluster's core images, then S chunk means over them (v4, v5).

    A cluster without core images, which DBSCAN never makes, uses all of its images.
    """
    keys = members.labels
    if members.core is not None:
        kept = torch.bincount(keys[members.core & (keys >= 0)], minlength=members.clusters)
        keep = members.core | (kept[keys.clamp(min=0)] == 0)
        keys = keys.masked_fill(~keep, -1)
    means, _ = segment_means(members.features, keys, members.clusters)
    chunks = chunk_means(members.features, keys, means, members.slots)
    centre = means if members.centroids is None or members.core is not None else members.centroids
    return torch.cat((centre.unsqueeze(0), chunks))


def chunk_means(features: Tensor, labels: Tensor, means: Tensor, slots: int) -> Tensor:
    """Means over consecutive chunks of ceil(count / S) images of each cluster, in list order.

    Args:
        features: (N, D).
        labels: int64 (N,); negative labels are left out.
        means: (C, D), what an empty chunk takes (5 images in 4 slots make only 3 chunks).
        slots: S.

    Returns:
        (S, C, D).
    """
    clusters = len(means)
    counts = torch.bincount(labels[labels >= 0], minlength=clusters)
    length = (-(-counts // slots)).clamp(min=1)
    keys = rank_in_class(labels) // length[labels.clamp(min=0)] * clusters + labels
    chunks, filled = segment_means(features, keys.masked_fill(labels < 0, -1), slots * clusters)
    chunks = torch.where(filled.unsqueeze(1) > 0, chunks, means.repeat(slots, 1))
    return chunks.view(slots, clusters, -1)
