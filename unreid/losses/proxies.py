"""Losses against camera proxies (CAP, Wang et al., AAAI 2021; O2CAP, Wang et al., TIP 2022; PPLR, CVPR 2022).

A proxy is the mean of the images of one cluster in one camera; there are P of them, and B samples. A loss looks at few
proxies of a sample. They are chosen without gradient, by the similarities to all, and logits, similarities over the
temperature, are of the chosen ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from unreid.utils.products import picked_products, products


class Chosen(NamedTuple):
    """Some proxies of every sample: int64 (B, K), and bool (B, K), which entries count. The others name any proxy."""

    proxies: Tensor
    valid: Tensor

    def beside(self, others: Chosen) -> Tensor:
        """The proxies of both, (B, K + K')."""
        return torch.cat((self.proxies, others.proxies), dim=1)


def offline_positives(targets: Tensor, table: Tensor, proxy_cameras: Tensor) -> Chosen:
    """The proxies of the sample's own cluster, one a camera that has seen it (O2CAP, offline association).

    Args:
        targets: int64 (B,), clusters.
        table: int64 (C, cameras), the proxies of a cluster; any of them where a camera has not seen it.
        proxy_cameras: int64 (P,).
    """
    index = table[targets]
    return Chosen(index, proxy_cameras[index] == torch.arange(table.shape[1], device=table.device))


def online_positives(similarity: Tensor, camera_sizes: Sequence[int], count: int) -> Chosen:
    """Of the most similar proxy of every camera, the ``count`` most similar (O2CAP, online association).

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
    return Chosen(chosen, torch.ones_like(chosen, dtype=torch.bool))


def hardest_others(similarity: Tensor, excluded: Tensor, count: int) -> Chosen:
    """The ``count`` proxies of the largest similarity that are not excluded; all others where there are no more.

    Args:
        similarity: (B, P); minus infinity excludes as well.
        excluded: int64 (B, Q).
        count: at least 1.
    """
    top = similarity.scatter(1, excluded, -torch.inf).topk(min(count, similarity.shape[1]), dim=1)
    return Chosen(top.indices, top.values.isfinite())


def proxy_loss(logits: Tensor, positives: Chosen, negatives: Chosen) -> Tensor:
    """float (B,): soft cross-entropy with equal targets on the positives, against the negatives.

    ``-mean over positives of log softmax``, the softmax over positives and negatives. Without positives 0.

    Args:
        logits: (B, Q + K), of the Q positives and K negatives of every sample, with gradient.
        positives, negatives: what the logits are of.
    """
    valid = torch.cat((positives.valid, negatives.valid), dim=1)
    normaliser = logits.masked_fill(~valid, torch.finfo(logits.dtype).min).logsumexp(1)
    count = positives.valid.sum(1)
    mean = torch.where(positives.valid, logits[:, : positives.valid.shape[1]], 0.0).sum(1) / count.clamp(min=1)
    return torch.where(count > 0, normaliser - mean, 0.0)


def intra_camera_loss(logits: Tensor, own: Tensor, proxy_cameras: Tensor, camids: Tensor) -> Tensor:
    """float (B,): cross-entropy against the proxies of the sample's own camera only (CAP, eq. 3).

    Args:
        logits: (B, P), to all proxies.
        own: int64 (B,), the sample's proxy.
        proxy_cameras: int64 (P,).
        camids: int64 (B,).
    """
    return cross_entropy(logits.masked_fill(camids[:, None] != proxy_cameras, -torch.inf), own, reduction="none")


def camera_balanced_weights(camids: Tensor) -> Tensor:
    """float32 (B,): 1 / (samples of the same camera in the batch), so that a sum is a sum of camera means."""
    return 1.0 / (camids[:, None] == camids).sum(1)


def proxy_table(proxy_clusters: Tensor, proxy_cameras: Tensor) -> Tensor:
    """int64 (C, cameras): the proxies of every cluster; where a camera has not seen it, one of the others."""
    clusters, cameras = (int(numbers.max()) + 1 for numbers in (proxy_clusters, proxy_cameras))
    numbers = torch.full((clusters, cameras), -1, dtype=torch.int64, device=proxy_clusters.device)
    numbers[proxy_clusters, proxy_cameras] = torch.arange(len(proxy_clusters), device=numbers.device)
    return torch.where(numbers < 0, numbers.amax(1, keepdim=True), numbers)


def inter_camera_contrast(
    features: Tensor,
    targets: Tensor,
    camids: Tensor,
    proxies: Tensor,
    proxy_clusters: Tensor,
    proxy_cameras: Tensor,
    *,
    table: Tensor | None = None,
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
        table: of :func:`proxy_table`, where it is known; a GPU need not be waited for then.
    """
    if table is None:
        table = proxy_table(proxy_clusters, proxy_cameras)
    features, proxies = normalize(features, dim=1), proxies.detach().to(features.dtype)
    own = offline_positives(targets, table, proxy_cameras)
    positives = own._replace(valid=own.valid & (proxy_cameras[own.proxies] != camids[:, None]))
    with torch.no_grad():
        similarity = products(features, proxies)
        negatives = hardest_others(similarity, own.proxies, hard_negatives)  # the own proxy is neither of the two
    logits = picked_products(features, proxies, similarity, positives.beside(negatives)) / temp
    return proxy_loss(logits, positives, negatives).mean()
