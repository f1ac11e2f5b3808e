"""AuxUSL's four losses: identities and triplets, each hard (pseudo labels) and soft (the mean teacher)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from unreid.losses.identity import IdentityLoss
from unreid.losses.soft_entropy import soft_entropy
from unreid.losses.triplet import (
    hardest_triplets,
    soft_margin_triplet,
    soft_triplet,
    triplet_distances,
    weighted_adaptive_triplet,
)

if TYPE_CHECKING:
    from unreid.config import CfgNode

SOFT_MARGIN, WEIGHTED_ADAPTIVE = 1, 2  # values of MODEL.LOSSES.TRI_OPTION


class Outputs(NamedTuple):
    """What one network says about a batch: pooled features (B, D) and logits (B, C) of the current clusters."""

    features: Tensor
    logits: Tensor


class MutualTeachingLoss:
    """``(1 - a) id + a soft_id + (1 - b) tri + b soft_tri`` with a = ``soft_id_weight``, b = ``soft_tri_weight``.

    Args:
        identity: the identity loss.
        tri_option: 1 soft-margin batch-hard triplets, 2 WATL.
        margin, lambda_, detach_weight: of WATL.
        soft_id_weight, soft_tri_weight: shares of the teacher.

    Raises:
        ValueError: an unknown option.
    """

    def __init__(
        self,
        identity: IdentityLoss | None = None,
        *,
        tri_option: int = SOFT_MARGIN,
        margin: float = 0.5,
        lambda_: float = -1.0,
        detach_weight: bool = False,
        soft_id_weight: float = 0.5,
        soft_tri_weight: float = 0.8,
    ) -> None:
        if tri_option not in (SOFT_MARGIN, WEIGHTED_ADAPTIVE):
            raise ValueError(f"the triplet loss is 1 (soft margin) or 2 (WATL), not {tri_option}")
        self.identity = identity if identity is not None else IdentityLoss()
        self.tri_option = tri_option
        self.margin = margin
        self.lambda_ = lambda_
        self.detach_weight = detach_weight
        self.weights = {
            "id": 1.0 - soft_id_weight,
            "tri": 1.0 - soft_tri_weight,
            "soft_id": soft_id_weight,
            "soft_tri": soft_tri_weight,
        }

    @classmethod
    def from_config(cls, cfg: CfgNode) -> MutualTeachingLoss:
        """Reads ``MODEL.LOSSES`` and ``METHOD.AUXUSL``."""
        node, own = cfg.MODEL.LOSSES, cfg.METHOD.AUXUSL
        return cls(
            IdentityLoss(node.ID_OPTION, epsilon=node.CE.EPSILON, k=node.ID_K),
            tri_option=node.TRI_OPTION,
            margin=node.TRI_MARGIN,
            lambda_=node.TRI_LAMBDA,
            detach_weight=own.DETACH_WATL_WEIGHT,
            soft_id_weight=own.SOFT_ID_WEIGHT,
            soft_tri_weight=own.SOFT_TRI_WEIGHT,
        )

    def __call__(self, student: Outputs, teacher: Outputs, targets: Tensor) -> dict[str, Tensor]:
        """The four weighted losses by name; their sum is AuxUSL's objective."""
        return {name: self.weights[name] * value for name, value in self.terms(student, teacher, targets).items()}

    def terms(self, student: Outputs, teacher: Outputs, targets: Tensor) -> dict[str, Tensor]:
        """The unweighted terms "id", "tri", "soft_id" and "soft_tri".

        Args:
            student: its outputs; triplets are mined on its features.
            teacher: outputs without gradient.
            targets: int64 (B,), pseudo labels.
        """
        triplets = hardest_triplets(student.features, targets)
        positive, negative = triplet_distances(student.features, triplets)
        taught = triplet_distances(teacher.features.detach(), triplets)
        return {
            "id": self.identity(student.logits, targets),
            "tri": self._triplet(positive, negative, triplets.valid),
            "soft_id": soft_entropy(student.logits, teacher.logits),
            "soft_tri": soft_triplet(positive, negative, *taught, triplets.valid),
        }

    def _triplet(self, positive: Tensor, negative: Tensor, valid: Tensor) -> Tensor:
        if self.tri_option == SOFT_MARGIN:
            return soft_margin_triplet(positive, negative, valid)
        return weighted_adaptive_triplet(
            positive,
            negative,
            valid,
            margin=self.margin,
            lambda_=self.lambda_,
            detach_weight=self.detach_weight,
        )
