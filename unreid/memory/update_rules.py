"""How a batch moves the rows of its clusters: the rules, as functions over the classes of a batch.

A rule gets, for the P classes of a batch with at most K samples each,

    rows (P, D)        the classes' rows before the update,
    samples (P, K, D)  their samples in batch order,
    valid (P, K)       which of them exist,
    camids (P, K)      cameras, or None,
    momentum           weight of the old row,

and returns the new rows (P, D). Rows of different classes never interact, so the order of the classes is free; the
order of the samples inside a class is the batch order and matters for the sequential rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from unreid.memory.grouping import group_by_class, masked_argmin, pick
from unreid.utils.registry import Registry

RuleFunction = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]


@dataclass(frozen=True)
class UpdateRule:
    """A rule and the batch fields it needs beyond the targets."""

    function: RuleFunction
    needs: tuple[str, ...] = ()


UPDATE_RULES: Registry[UpdateRule] = Registry("memory update rule")


def update_rule(name: str, *aliases: str, needs: tuple[str, ...] = ()) -> Callable[[RuleFunction], RuleFunction]:
    """Decorator that registers a rule under its names."""

    def add(function: RuleFunction) -> RuleFunction:
        UPDATE_RULES.register(name, *aliases)(UpdateRule(function, needs))
        return function

    return add


def write_by_rule(
    rule: UpdateRule,
    bank: Tensor,
    features: Tensor,
    classes: Tensor,
    camids: Tensor | None,
    *,
    momentum: float,
    num_instances: int | None,
) -> None:
    """Moves the rows (R, D) of a bank by a batch, in place: features (B, D) of the rows ``classes`` int64 (B,).

    Args:
        camids: int64 (B,), or None for rules that do not need cameras.
        num_instances: see :func:`~unreid.memory.grouping.group_by_class`.
    """
    groups = group_by_class(classes, num_instances=num_instances, num_classes=len(bank))
    cameras = None if camids is None else camids[groups.table]
    rows = rule.function(bank[groups.label], features[groups.table], groups.valid, cameras, momentum)
    bank.index_copy_(0, groups.label, rows)


def blend(rows: Tensor, samples: Tensor, momentum: float) -> Tensor:
    """``normalise(m * row + (1 - m) * sample)``, row-wise over the last axis."""
    return F.normalize(momentum * rows + (1.0 - momentum) * samples, dim=-1)


def blend_in_order(rows: Tensor, samples: Tensor, valid: Tensor, momentum: float) -> Tensor:
    """Blends the valid samples into the rows one after the other, all classes at once: K rounds."""
    for k in range(samples.shape[1]):
        rows = torch.where(valid[:, k, None], blend(rows, samples[:, k], momentum), rows)
    return rows


def similarities(rows: Tensor, samples: Tensor) -> Tensor:
    """Dot products of the samples with their class's row: (P, D), (P, K, D) -> (P, K).

    A product and a sum rather than a matrix product, so that no TF32 setting can change which sample is hardest.
    """
    return (rows.unsqueeze(1) * samples).sum(-1)


@update_rule("all", "ori", "cm")
def every_sample(rows: Tensor, samples: Tensor, valid: Tensor, camids: Tensor | None, momentum: float) -> Tensor:
    """Every sample in batch order (Cluster Contrast; ISE "ori"). Not commutative: later samples weigh more."""
    return blend_in_order(rows, samples, valid, momentum)


@update_rule("hard", "cm_hard")
def hardest_sample(rows: Tensor, samples: Tensor, valid: Tensor, camids: Tensor | None, momentum: float) -> Tensor:
    """The sample least similar to the old row, once per class; the first on ties."""
    hardest = masked_argmin(similarities(rows, samples), valid)
    return blend(rows, pick(samples, hardest), momentum)
