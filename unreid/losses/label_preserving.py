"""ISE's label-preserving loss: a real sample against its hardest supports (CVPR 2022)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from unreid.utils.arrays import ArrayLike, as_batch, at_least_float32
from unreid.utils.products import products

EPSILON = 1e-6  # both occurrences belong to the published definition


def label_preserving_loss(
    features: ArrayLike,
    supports: ArrayLike,
    targets: ArrayLike,
    support_targets: ArrayLike,
    *,
    temp: float = 0.6,
    grouping: str = "label",
    chunk: int | None = None,
) -> Tensor:
    """``mean_i -ln(pos_i / (pos_i + sum_z neg_iz + 1e-6) + 1e-6)`` over exponentials of similarities.

    ``pos_i`` is the least similar support of the sample's own class (its own supports included), ``neg_iz`` the most
    similar support of another class z. Computed in float32, also under autocast; minimum and maximum pass their
    gradient to the selected entry only.

    Args:
        features: (B, D), L2-normalised.
        supports: (S, D), L2-normalised.
        targets: int64 (B,); every one of them has a support.
        support_targets: int64 (S,).
        temp: temperature of the exponentials.
        grouping: "label": one maximum per other class, whatever the order of the batch. "chunk": the published rule,
            one maximum per ``chunk`` consecutive negatives, and every negative on its own where their number is not
            a multiple of ``chunk``; equal to "label" on batches of full groups.
        chunk: topk * num_instances, for "chunk" only.

    Returns:
        Scalar float32.

    Raises:
        ValueError: an unknown grouping, or "chunk" without a chunk size.
    """
    features, targets = as_batch(features, targets)
    supports, support_targets = as_batch(supports, support_targets, "supports")
    with torch.autocast(features.device.type, enabled=False):
        features = at_least_float32(features)
        similarity = products(features, supports.to(features.dtype))
    return label_preserving_loss_of(similarity, targets, support_targets, temp=temp, grouping=grouping, chunk=chunk)


def label_preserving_loss_of(
    similarity: Tensor,
    targets: Tensor,
    support_targets: Tensor,
    *,
    temp: float = 0.6,
    grouping: str = "label",
    chunk: int | None = None,
) -> Tensor:
    """:func:`label_preserving_loss` where the products (B, S) of features and supports are known, at least float32."""
    logits = similarity / temp
    own = targets.unsqueeze(1) == support_targets
    positive = logits.masked_fill(~own, torch.inf).min(dim=1).values
    if grouping == "label":
        negative = _negatives_by_label(logits, own, support_targets)
    elif grouping == "chunk" and chunk:
        negative = _negatives_by_chunk(logits, own, chunk)
    else:
        raise ValueError(f'grouping must be "label", or "chunk" with a chunk size, not {grouping!r}')
    # By logarithms, since exponentials overflow at low temperatures.
    little = logits.new_full((len(logits), 1), math.log(EPSILON))
    total = torch.cat((positive.unsqueeze(1), negative, little), dim=1).logsumexp(dim=1)
    return -torch.log(torch.exp(positive - total) + EPSILON).mean()


def _negatives_by_label(logits: Tensor, own: Tensor, support_targets: Tensor) -> Tensor:
    """The largest logit of each of the other classes: (B, S), filled up with minus infinity.

    Works on the supports sorted by class, with the class read off the sort: at most S groups, no host copy.
    """
    ordered, order = torch.sort(support_targets, stable=True)
    starts = torch.ones_like(ordered, dtype=torch.bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    group = torch.empty_like(order).scatter_(0, order, starts.cumsum(0) - 1)
    others = logits.detach().masked_fill(own, -torch.inf)
    columns = group.expand_as(others)
    largest = torch.full_like(others, -torch.inf).scatter_reduce(1, columns, others, "amax")
    # First support on ties, so that the gradient has one destination per class.
    position = torch.arange(others.shape[1], device=others.device).expand_as(others)
    candidate = position.masked_fill((others != largest.gather(1, columns)) | own, others.shape[1])
    winner = torch.full_like(candidate, others.shape[1]).scatter_reduce(1, columns, candidate, "amin")
    there = winner < others.shape[1]
    return logits.gather(1, winner.clamp(max=others.shape[1] - 1)).masked_fill(~there, -torch.inf)


def _negatives_by_chunk(logits: Tensor, own: Tensor, chunk: int) -> Tensor:
    """The published rule: maxima over consecutive chunks of what is left of a row without its positives: (B, S)."""
    count = (~own).sum(1, keepdim=True)
    width = logits.shape[1]
    # The negatives of each row moved to the front, in order.
    slot = torch.where(own, width, (~own).cumsum(1) - 1)
    front = logits.new_full((len(logits), width + 1), -torch.inf)
    front = front.scatter(1, slot, logits.masked_fill(own, -torch.inf))[:, :width]
    padded = F.pad(front, (0, -width % chunk), value=-torch.inf)
    largest = padded.unflatten(1, (-1, chunk)).max(dim=2).values
    largest = F.pad(largest, (0, width - largest.shape[1]), value=-torch.inf)
    return torch.where(count % chunk == 0, largest, front)
