"""Batches that the tests of this folder share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor

from unreid.structures import Clustering


def unit(*shape: int, generator: torch.Generator | None = None) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=generator), dim=-1)


def random_batch(seed: int, size: int, clusters: int, dim: int, cameras: int = 3) -> dict[str, Tensor]:
    """A bank of unit rows and a batch whose classes have unequal counts and interleave."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "bank": unit(clusters, dim, generator=generator),
        "x": unit(size, dim, generator=generator),
        "y": torch.randint(clusters, (size,), generator=generator),
        "camids": torch.randint(cameras, (size,), generator=generator),
    }


def clustering_of(labels: Tensor, **kwargs: object) -> Clustering:
    return Clustering(labels, int(labels.max()) + 1, **kwargs)  # type: ignore[arg-type]


seeds = st.integers(0, 2**20)
sizes = st.integers(1, 24)
