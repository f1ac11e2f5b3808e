"""Camera proxies of a clustering: the images of one cluster in one camera (CAP, O2CAP, PPLR)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from unreid.utils.means import segment_means


@dataclass(frozen=True)
class CameraProxies:
    """P proxies of N samples, camera after camera.

    Attributes:
        cluster, camera: int64 (P,).
        proxy: int64 (N,), proxy of every sample; -1 for outliers.
        table: int64 (C, cameras), proxy of a cluster in a camera; where it has no image there, its largest proxy.
    """

    cluster: Tensor
    camera: Tensor
    proxy: Tensor
    table: Tensor

    def rows(self, features: Tensor) -> Tensor:
        """Unit means of the samples of every proxy: float (N, D) -> (P, D)."""
        return normalize(segment_means(features, self.proxy, len(self.cluster))[0], dim=1)


def camera_proxies(labels: Tensor, camids: Tensor) -> CameraProxies:
    """The proxies of int64 (N,) labels (-1 for outliers) and cameras, on one device."""
    clusters = int(labels.max()) + 1
    key = torch.where(labels >= 0, camids * clusters + labels, -1)  # sorted by camera
    found, proxy = torch.unique(key, return_inverse=True)
    outliers = int(found[0] < 0)
    found, proxy = found[outliers:], proxy - outliers
    cluster, camera = found % clusters, torch.div(found, clusters, rounding_mode="floor")
    sizes = torch.zeros(clusters, int(camids.max()) + 1, dtype=torch.int64, device=labels.device)
    sizes[cluster, camera] = torch.bincount(proxy[proxy >= 0], minlength=len(found))
    numbers = torch.zeros_like(sizes)
    numbers[cluster, camera] = torch.arange(len(found), device=labels.device)
    largest = numbers.gather(1, sizes.argmax(1, keepdim=True))
    return CameraProxies(cluster, camera, proxy, torch.where(sizes > 0, numbers, largest))
