"""Batch-hard triplets: mining, the soft-margin loss, and AuxUSL's weighted adaptive triplet loss (WATL)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from unreid.losses.base import LOSSES, Loss, LossInputs
from unreid.utils.arrays import ArrayLike, as_batch, as_rows, at_least_float32
from unreid.utils.products import products

MIN_SQUARED = 1e-12  # below it a squared distance is constant and has no gradient


class Triplets(NamedTuple):
    """The hardest partners of every sample of a batch.

    Attributes:
        positive: int64 (B,), the farthest sample of the same class (the sample itself where it is alone).
        negative: int64 (B,), the nearest sample of another class; meaningless where ``valid`` is False.
        valid: bool (B,), whether the batch holds another class.
    """

    positive: Tensor
    negative: Tensor
    valid: Tensor


@torch.no_grad()
def hardest_triplets(features: ArrayLike, targets: ArrayLike) -> Triplets:
    """Mines the hardest positive and negative of every sample by Euclidean distance.

    Args:
        features: float (B, D).
        targets: int64 (B,).
    """
    features, targets = as_batch(features, targets)
    with torch.autocast(features.device.type, enabled=False):
        features = at_least_float32(features.detach())
        norms = features.square().sum(dim=1)
        squared = norms.unsqueeze(1) + norms - 2.0 * products(features, features)
    squared.fill_diagonal_(0.0).clamp_(min=0.0)
    same = targets.unsqueeze(1) == targets
    positive = squared.masked_fill(~same, -1.0).argmax(dim=1)
    negative = squared.masked_fill(same, torch.inf).argmin(dim=1)
    return Triplets(positive, negative, ~same.all(dim=1))


def triplet_distances(features: ArrayLike, triplets: Triplets) -> tuple[Tensor, Tensor]:
    """Euclidean distances (B,) to the mined positives and negatives; squared values are clamped at 1e-12."""
    features = as_rows(features)
    with torch.autocast(features.device.type, enabled=False):
        features = at_least_float32(features)
        partners = (features.index_select(0, index) for index in (triplets.positive, triplets.negative))
        positive, negative = (_distance(features, partner) for partner in partners)
        return positive, negative


def soft_margin_triplet(positive: Tensor, negative: Tensor, valid: Tensor) -> Tensor:
    """``mean softplus(d_ap - d_an)`` over the batch; anchors without a negative add nothing.

    Args:
        positive, negative: float (B,), distances of :func:`triplet_distances`.
        valid: bool (B,).
    """
    return _mean(F.softplus(positive - negative), valid)


def weighted_adaptive_triplet(
    positive: Tensor,
    negative: Tensor,
    valid: Tensor,
    *,
    margin: float = 0.5,
    lambda_: float = -1.0,
) -> Tensor:
    """WATL (AuxUSL, its eq. 5-6): ``mean exp(lambda t) t`` over violations ``t = d_ap - d_an + margin > 0``, else 0.

    The gradient flows through the weight: ``exp(lambda t) (1 + lambda t)``, so triplets beyond ``t = -1 / lambda`` are
    pushed further apart.

    Args:
        positive, negative, valid: see :func:`soft_margin_triplet`.
        margin, lambda_: ``MODEL.LOSSES.TRI_MARGIN`` and ``TRI_LAMBDA``.
    """
    violation = F.relu(positive - negative + margin)  # relu also keeps exp finite where nothing is violated
    weight = torch.exp(lambda_ * violation)
    return _mean(weight * violation, valid)


def soft_triplet(
    positive: Tensor, negative: Tensor, teacher_positive: Tensor, teacher_negative: Tensor, valid: Tensor
) -> Tensor:
    """Cross-entropy between the softmax over (d_ap, d_an) of the teacher (the target) and of the student.

    Args:
        positive, negative: float (B,), distances of the student.
        teacher_positive, teacher_negative: float (B,), the teacher's at the same indices; get no gradient.
        valid: bool (B,); other anchors add nothing.
    """
    target = torch.sigmoid((teacher_positive - teacher_negative).detach())
    gap = positive - negative
    return _mean(target * F.softplus(-gap) + (1.0 - target) * F.softplus(gap), valid)


@LOSSES.register("triplet", "soft_margin_triplet")
class SoftMarginTriplet(Loss):
    """Batch-hard triplets with the soft margin: mean softplus(d_ap - d_an)."""

    def __call__(self, inputs: LossInputs) -> Tensor:
        triplets = hardest_triplets(inputs.features, inputs.targets)
        return self.of(*triplet_distances(inputs.features, triplets), triplets.valid)

    def of(self, positive: Tensor, negative: Tensor, valid: Tensor) -> Tensor:
        """Scalar of mined distances, (B,) each."""
        return soft_margin_triplet(positive, negative, valid)


@LOSSES.register("watl", "weighted_adaptive_triplet")
class WeightedAdaptiveTriplet(SoftMarginTriplet):
    """AuxUSL's weighted adaptive triplet loss (WATL), see :func:`weighted_adaptive_triplet`."""

    def __init__(self, margin: float = 0.5, lambda_: float = -1.0) -> None:
        self.margin = margin
        self.lambda_ = lambda_

    @classmethod
    def from_config(cls, cfg: Any) -> WeightedAdaptiveTriplet:
        node = cfg.MODEL.LOSSES
        return cls(node.TRI_MARGIN, node.TRI_LAMBDA)

    def of(self, positive: Tensor, negative: Tensor, valid: Tensor) -> Tensor:
        return weighted_adaptive_triplet(positive, negative, valid, margin=self.margin, lambda_=self.lambda_)


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().sum(dim=1).clamp(min=MIN_SQUARED).sqrt()


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean over the whole batch with invalid anchors at 0; connected to the graph even if none is valid."""
    return torch.where(valid, values, values.new_zeros(())).mean()
