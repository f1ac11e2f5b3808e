"""Lays a batch out as (class, rank of the sample in its class), with shapes that need no device-to-host copy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ClassGroups:
    """The samples of a batch by class; P classes, at most K samples each, B samples in all.

    Attributes:
        label: int64 (P,), class of a group. Groups beyond the classes of the batch (only with static shapes) are
            copies of group 0, so that whatever is computed for them and written back equals what group 0 writes.
        table: int64 (P, K), batch position of the k-th sample of the class in batch order; 0 where not ``valid``.
        valid: bool (P, K).
        group: int64 (B,), group of a sample.
        rank: int64 (B,), how many earlier samples of the batch have the same class.
    """

    label: Tensor
    table: Tensor
    valid: Tensor
    group: Tensor
    rank: Tensor


def group_by_class(
    targets: Tensor,
    *,
    num_instances: int | None = None,
    num_classes: int | None = None,
    static: bool | None = None,
) -> ClassGroups:
    """Groups the positions of a batch by class, keeping the batch order inside each class.

    Args:
        targets: int64 (B,), B >= 1.
        num_instances: upper bound of the samples of one class. With it, nothing is read back from a GPU; without it
            two integers are. A CPU needs no bound and ignores it; a GPU stops with a device assertion where it is too
            small, because an exception would need the very copy that the bound avoids.
        num_classes: upper bound of the classes of a batch, for the static shape.
        static: force shapes from the bounds (True) or from the data (False); None: by device.

    Raises:
        ValueError: no samples, or static shapes without ``num_instances``.
    """
    if targets.ndim != 1 or not len(targets):
        raise ValueError(f"targets must be a vector of at least one label, not of shape {tuple(targets.shape)}")
    size = len(targets)
    order, group, rank = _sorted_by_class(targets)
    if static is None:
        static = num_instances is not None and targets.device.type != "cpu"
    if static:
        if num_instances is None:
            raise ValueError("static shapes need num_instances")
        groups, width = min(size, num_classes or size), min(size, num_instances)
        torch._assert_async(rank.max() < width, "a class of the batch has more samples than num_instances")
    else:
        groups, width = (int(n) + 1 for n in torch.stack((group[-1], rank.max())).tolist())

    table = torch.full((groups, width), -1, dtype=torch.int64, device=targets.device)
    table[group, rank] = order
    present = table[:, :1] >= 0
    table = torch.where(present, table, table[:1])
    valid = table >= 0
    table = table.clamp(min=0)
    back = torch.argsort(order)
    return ClassGroups(targets[table[:, 0]], table, valid, group[back], rank[back])


def rank_in_class(targets: Tensor) -> Tensor:
    """How many earlier entries have the same value: int64 (N,) -> int64 (N,)."""
    order, _, rank = _sorted_by_class(targets)
    return torch.empty_like(rank).scatter_(0, order, rank)


def _sorted_by_class(targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Stable order by class, and for the sorted entries their group number and rank in it; (N,) each."""
    ordered, order = torch.sort(targets, stable=True)
    position = torch.arange(len(targets), device=targets.device)
    starts = torch.ones(len(targets), dtype=torch.bool, device=targets.device)
    starts[1:] = ordered[1:] != ordered[:-1]
    rank = position - torch.where(starts, position, 0).cummax(0).values
    return order, starts.cumsum(0) - 1, rank


def first_true(mask: Tensor) -> Tensor:
    """Index of the first True along the last axis; 0 where there is none. bool (..., K) -> int64 (...)."""
    return mask.to(torch.int8).argmax(-1)


def masked_argmin(values: Tensor, mask: Tensor) -> Tensor:
    """First position of the smallest value among those of ``mask``; (..., K) -> int64 (...)."""
    values = values.masked_fill(~mask, torch.inf)
    return first_true(mask & (values == values.amin(-1, keepdim=True)))


def pick(samples: Tensor, index: Tensor) -> Tensor:
    """``samples[p, index[p]]``: (P, K, D) and int64 (P,) -> (P, D)."""
    return samples[torch.arange(len(samples), device=samples.device), index]
