"""ISE's label-preserving loss: a real sample against its hardest supports (CVPR 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unreid.utils.arrays import ArrayLike, as_batch
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
        dtype = torch.promote_types(features.dtype, torch.float32)
        similarity = products(features.to(dtype), supports.to(dtype))
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
    energy = torch.exp(similarity / temp)
    own = targets.unsqueeze(1) == support_targets
    positive = energy.masked_fill(~own, torch.inf).min(dim=1).values
    if grouping == "label":
        negative = _negatives_by_label(energy, own, support_targets)
    elif grouping == "chunk" and chunk:
        negative = _negatives_by_chunk(energy, own, chunk)
    else:
        raise ValueError(f'grouping must be "label", or "chunk" with a chunk size, not {grouping!r}')
    return -torch.log(positive / (positive + negative + EPSILON) + EPSILON).mean()


def _negatives_by_label(energy: Tensor, own: Tensor, support_targets: Tensor) -> Tensor:
    """Sum over the other classes of the largest energy of each: (B,).

    Works on the supports sorted by class, with the class read off the sort: at most S groups, no host copy.
    """
    ordered, order = torch.sort(support_targets, stable=True)
    starts = torch.ones_like(ordered, dtype=torch.bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    group = torch.empty_like(order).scatter_(0, order, starts.cumsum(0) - 1)
    others = energy.detach().masked_fill(own, 0.0)
    columns = group.expand_as(others)
    largest = torch.zeros_like(others).scatter_reduce(1, columns, others, "amax")
    # First support on ties, so that the gradient has one destination per class.
    position = torch.arange(others.shape[1], device=others.device).expand_as(others)
    candidate = position.masked_fill((others != largest.gather(1, columns)) | own, others.shape[1])
    winner = torch.full_like(candidate, others.shape[1]).scatter_reduce(1, columns, candidate, "amin")
    chosen = winner < others.shape[1]
    return (energy.gather(1, winner.clamp(max=others.shape[1] - 1)) * chosen).sum(1)


def _negatives_by_chunk(energy: Tensor, own: Tensor, chunk: int) -> Tensor:
    """The published rule: maxima over consecutive chunks of what is left of a row without its positives: (B,)."""
    count = (~own).sum(1)
    rank = (~own).cumsum(1) - 1
    width = energy.shape[1]
    # The negatives of each row moved to the front, in order; the rest is 0 and adds nothing to a maximum or a sum.
    slot = torch.where(own, width, rank)
    front = energy.new_zeros(len(energy), width + 1).scatter(1, slot, energy.masked_fill(own, 0.0))[:, :width]
    padded = F.pad(front, (0, -width % chunk))
    by_chunk = padded.unflatten(1, (-1, chunk)).max(dim=2).values.sum(1)
    return torch.where(count % chunk == 0, by_chunk, front.sum(1))
