"""Loss terms of CDSM's diversity memory and how each mode mixes them (SMC 2022).

``terms`` functions turn the scaled similarities (B, blocks, C) to every block into the logits (B, C) of one or more
cross-entropies; ``mix`` functions weigh the resulting values. The maximum over slots passes its gradient to one slot;
equal ones, which are equal rows, share it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

Terms = Callable[[Tensor, Tensor], list[Tensor]]
Mix = Callable[[Sequence[Tensor], float], Tensor]


def every_block(similarity: Tensor, targets: Tensor) -> list[Tensor]:
    """One term per block (CM, CMhard: one; CMhybrid: hard, mean; v3: one per slot)."""
    return list(similarity.unbind(1))


def mean_with_worst_own(similarity: Tensor, targets: Tensor) -> list[Tensor]:
    """[mean block, best slot of other clusters against the worst slot of the own one] (v2)."""
    slots = similarity[:, 1:]
    return [similarity[:, 0], _replace_own(slots, targets, _own(slots, targets).min(dim=1).values)]


def centre_with_mean_own(similarity: Tensor, targets: Tensor) -> list[Tensor]:
    """[centre block, best slot of other clusters against the mean slot of the own one] (v4, v5)."""
    slots = similarity[:, 1:]
    return [similarity[:, 0], _replace_own(slots, targets, _own(slots, targets).mean(dim=1))]


def _own(slots: Tensor, targets: Tensor) -> Tensor:
    index = targets.view(-1, 1, 1).expand(-1, slots.shape[1], 1)
    return slots.gather(2, index).squeeze(2)


def _replace_own(slots: Tensor, targets: Tensor, own: Tensor) -> Tensor:
    return slots.amax(dim=1).scatter(1, targets.unsqueeze(1), own.unsqueeze(1))


def total(values: Sequence[Tensor], weight: float) -> Tensor:
    """Sum of the terms (CM, CMhard, v3); no weight enters."""
    return sum(values[1:], values[0])


def hard_then_mean(values: Sequence[Tensor], weight: float) -> Tensor:
    """CMhybrid: ``w (hard + (1 - w) mean)``, which is no convex mix, as published."""
    hard, mean = values
    return weight * (hard + (1.0 - weight) * mean)


def first_weighted(values: Sequence[Tensor], weight: float) -> Tensor:
    """v2: ``w mean + (1 - w) instances``; w weighs the mean block."""
    mean, instances = values
    return weight * mean + (1.0 - weight) * instances


def second_weighted(values: Sequence[Tensor], weight: float) -> Tensor:
    """v4, v5: ``(1 - w) centre + w margin``."""
    centre, margin = values
    return (1.0 - weight) * centre + weight * margin
