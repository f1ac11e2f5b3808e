"""Losses against camera proxies (CAP, Wang et al., AAAI 2021; O2CAP, Wang et al., TIP 2022; PPLR, CVPR 2022).

A proxy is the mean of the images of one cluster in one camera. ``logits`` are similarities over the temperature, (B, P)
for B samples and P proxies; all choices are made without gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from unreid.utils.products import products


def offline_positives(targets: Tensor, proxy_clusters: Tensor) -> Tensor:
    """bool (B, P): proxies of the sample's own cluster, all cameras (O2CAP, offline association).

    Args:
        targets: int64 (B,), clusters.
        proxy_clusters: int64 (P,).
    """
    return targets[:, None] == proxy_clusters


def online_positives(similarity: Tensor, camera_sizes: Sequence[int], count: int) -> Tensor:
    """bool (B, P): of the most similar proxy of every camera, the ``count`` most similar (O2CAP, online association).

    Args:
        similarity: (B, P), the mixed similarity of O2CAP; proxies are sorted by camera.
        camera_sizes: proxies of each camera.
        count: positives of a sample; fewer where there are fewer cameras.
    """
    best, proxy, first = [], [], 0
    for part in similarity.split([*camera_sizes], dim=1):
        if part.shape[1]:
            value, index = part.max(1)
            best.append(value)
            proxy.append(index + first)
        first += part.shape[1]
    top = torch.stack(best, dim=1).topk(min(count, len(best)), dim=1).indices
    chosen = torch.stack(proxy, dim=1).gather(1, top)
    return torch.zeros_like(similarity, dtype=torch.bool).scatter_(1, chosen, True)


def proxy_loss(logits: Tensor, positives: Tensor, similarity: Tensor, hard_negatives: int) -> Tensor:
    """float (B,): soft cross-entropy with equal targets on the positives, against the hardest other proxies.

    ``-mean over positives of log softmax``, the softmax over the positives and the ``hard_negatives`` proxies of the
    largest ``similarity`` among the rest (all of the rest where there are no more). A sample without positives gets 0.

    Args:
        logits: (B, P), with gradient.
        positives: bool (B, P).
        similarity: (B, P), by which negatives are chosen; detached.
        hard_negatives: at least 1.
    """
    rest = similarity.masked_fill(positives, -torch.inf)
    top = rest.topk(min(hard_negatives, rest.shape[1]), dim=1)
    chosen = positives.scatter(1, top.indices, positives.gather(1, top.indices) | top.values.isfinite())
    count = positives.sum(1)
    normaliser = logits.masked_fill(~chosen, -torch.inf).logsumexp(1)
    mean = torch.where(positives, logits, 0.0).sum(1) / count.clamp(min=1)
    return torch.where(count > 0, normaliser - mean, 0.0)


def intra_camera_loss(logits: Tensor, own: Tensor, proxy_cameras: Tensor, camids: Tensor) -> Tensor:
    """float (B,): cross-entropy against the proxies of the sample's own camera only (CAP, eq. 3).

    Args:
        logits: (B, P).
        own: int64 (B,), the sample's proxy.
        proxy_cameras: int64 (P,).
        camids: int64 (B,).
    """
    return cross_entropy(logits.masked_fill(camids[:, None] != proxy_cameras, -torch.inf), own, reduction="none")


def camera_balanced_weights(camids: Tensor) -> Tensor:
    """float32 (B,): 1 / (samples of the same camera in the batch), so that a sum is a sum of camera means."""
    return 1.0 / (camids[:, None] == camids).sum(1)


def inter_camera_contrast(
    features: Tensor,
    targets: Tensor,
    camids: Tensor,
    proxies: Tensor,
    proxy_clusters: Tensor,
    proxy_cameras: Tensor,
    *,
    hard_negatives: int = 50,
    temp: float = 0.07,
) -> Tensor:
    """Scalar: PPLR's contrast with the same cluster in *other* cameras (Cho et al., CVPR 2022, section 3.4).

    Negatives are the ``hard_negatives`` most similar proxies of other clusters; a sample that no other camera has seen
    counts 0 and stays in the mean.

    Args:
        features: (B, D), normalised here, with gradient.
        targets, camids: int64 (B,).
        proxies: (P, D), unit rows; no gradient reaches them.
        proxy_clusters, proxy_cameras: int64 (P,).
    """
    similarity = products(normalize(features, dim=1), proxies.detach().to(features.dtype))
    same = targets[:, None] == proxy_clusters
    positives = same & (camids[:, None] != proxy_cameras)
    allowed = similarity.masked_fill(same & ~positives, -torch.inf)  # the own proxy is neither positive nor negative
    return proxy_loss(similarity / temp, positives, allowed.detach(), hard_negatives).mean()
