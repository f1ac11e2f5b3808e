"""AuxUSL's four losses: identities and triplets, each hard (pseudo labels) and soft (the mean teacher)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from unreid.losses.base import LOSSES, Loss, LossInputs
from unreid.losses.identity import CrossEntropy
from unreid.losses.soft_entropy import soft_entropy
from unreid.losses.triplet import SoftMarginTriplet, hardest_triplets, soft_triplet, triplet_distances

if TYPE_CHECKING:
    from unreid.config import CfgNode


class Outputs(NamedTuple):
    """What one network says about a batch: pooled features (B, D) and logits (B, C) of the current clusters."""

    features: Tensor
    logits: Tensor


class MutualTeachingLoss:
    """``(1 - a) id + a soft_id + (1 - b) tri + b soft_tri`` with a = ``soft_id_weight``, b = ``soft_tri_weight``.

    Args:
        identity, triplet: the losses on pseudo labels; None: cross-entropy, soft-margin batch-hard triplets.
        soft_id_weight, soft_tri_weight: shares of the teacher.
    """

    def __init__(
        self,
        identity: Loss | None = None,
        triplet: Loss | None = None,
        *,
        soft_id_weight: float = 0.5,
        soft_tri_weight: float = 0.8,
    ) -> None:
        self.identity = CrossEntropy() if identity is None else identity
        self.triplet = SoftMarginTriplet() if triplet is None else triplet
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
            LOSSES.get(node.ID_OPTION).from_config(cfg),
            LOSSES.get(node.TRI_OPTION).from_config(cfg),
            soft_id_weight=own.SOFT_ID_WEIGHT,
            soft_tri_weight=own.SOFT_TRI_WEIGHT,
        )

    @property
    def _of_mined(self) -> Callable[[Tensor, Tensor, Tensor], Tensor] | None:
        """The triplet loss of mined distances, where it works on the triplets that the soft one works on."""
        ours = isinstance(self.triplet, SoftMarginTriplet) and type(self.triplet).__call__ is SoftMarginTriplet.__call__
        return self.triplet.of if ours else None  # type: ignore[attr-defined]

    def begin_round(self, centres: Tensor) -> None:
        """Tells both losses the clusters of a new round: float (C, D), their centres."""
        for loss in (self.identity, self.triplet):
            loss.begin_round(centres)

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
        inputs = LossInputs(student.features, targets, logits=student.logits)
        triplets = hardest_triplets(student.features, targets)
        distances = triplet_distances(student.features, triplets)
        taught = triplet_distances(teacher.features.detach(), triplets)
        return {
            "id": self.identity(inputs),
            "tri": self._of_mined(*distances, triplets.valid) if self._of_mined else self.triplet(inputs),
            "soft_id": soft_entropy(student.logits, teacher.logits),
            "soft_tri": soft_triplet(*distances, *taught, triplets.valid),
        }
