"""CDSM's choice of diverse samples of every class of a batch (SMC 2022; modes v4 and v5)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from unreid.memory.grouping import masked_argmin

MIN_SQUARED_DISTANCE = 1e-12  # published clamp: distinct samples are at least 1e-6 apart


class Selection(NamedTuple):
    """Attributes:
    chosen: bool (P, K), the samples that enter margin slots; at most S per class.
    centre: int64 (P,), the sample with the smallest mean distance to its class.
    """

    chosen: Tensor
    centre: Tensor


def mean_distances(samples: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Euclidean distances inside every class and their means over its samples, self included.

    In float64, exactly symmetric and with a zero diagonal: selections are sensitive at about 1e-4, CPU and GPU shall
    agree, and in a class of two both means must tie (the smaller batch position then wins).

    Returns:
        (P, K, K) and (P, K), float64; entries of missing samples are meaningless.
    """
    samples = samples.double()
    gram = samples @ samples.transpose(1, 2)
    norms = gram.diagonal(dim1=1, dim2=2)
    squared = norms.unsqueeze(2) + norms.unsqueeze(1) - gram - gram.transpose(1, 2)
    distance = squared.clamp(min=MIN_SQUARED_DISTANCE).sqrt()
    distance.diagonal(dim1=1, dim2=2).zero_()
    mean = (distance * valid.unsqueeze(1)).sum(2) / valid.sum(1, keepdim=True)
    return distance, mean


def select_diverse(
    samples: Tensor, valid: Tensor, slots: int, *, reliable: Tensor | None = None, lone: bool = True
) -> Selection:
    """Greedy choice of samples that are farther from all chosen ones than those are on average.

    Candidates come by decreasing mean distance. The first is taken; a later one is taken if its distance to every
    chosen sample is at least that sample's own mean distance and it is reliable, until S are chosen. K rounds, each on
    all classes at once; nothing is copied to the host.

    Args:
        samples: (P, K, D).
        valid: bool (P, K).
        slots: S.
        reliable: bool (P, K) or None for "all are" (v4).
        lone: whether a class of one sample (or of identical ones) chooses its first (v5) or nothing (v4).
    """
    distance, mean = mean_distances(samples, valid)
    centre = masked_argmin(mean, valid)
    order = torch.argsort(mean.masked_fill(~valid, -torch.inf), dim=1, descending=True, stable=True)
    far = distance >= mean.unsqueeze(1)
    far = far.gather(1, order.unsqueeze(2).expand_as(far)).gather(2, order.unsqueeze(1).expand_as(far))
    # Identical samples are kept apart only by the clamp; they offer no diversity.
    spread = mean.masked_fill(~valid, 0.0).amax(1) > MIN_SQUARED_DISTANCE**0.5
    eligible = valid.gather(1, order) & spread.unsqueeze(1)
    if reliable is not None:
        eligible &= reliable.gather(1, order)
    chosen = torch.zeros_like(valid)
    chosen[:, 0] = True if lone else spread
    for rank in range(1, valid.shape[1]):
        accepted = eligible[:, rank] & (chosen.sum(1) < slots) & (far[:, rank] | ~chosen).all(1)
        chosen[:, rank] = accepted
    return Selection(torch.zeros_like(valid).scatter_(1, order, chosen), centre)
