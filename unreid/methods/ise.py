"""ISE, implicit sample extension (Zhang et al., CVPR 2022): Cluster Contrast with support samples.

Every real feature is moved a little towards its nearest other clusters; these support samples enter the memory loss
and update like images, and a label-preserving loss keeps them near their own class.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unreid.losses.label_preserving import label_preserving_loss, label_preserving_loss_of
from unreid.losses.support_samples import interpolation_degree, support_samples
from unreid.losses.support_scores import SupportScores
from unreid.memory.base import Memory
from unreid.methods.base import METHODS
from unreid.methods.cluster_contrast import ClusterContrast
from unreid.methods.parts import PARTS, Part, Rows
from unreid.structures import Position
from unreid.utils.settings import settings

if TYPE_CHECKING:
    from unreid.config import CfgNode


@PARTS.register("support_samples")
@dataclass(eq=False, kw_only=True)
class SupportSamples(Part):
    """Progressive interpolation (PLI) and the label-preserving loss (LP), each on its own switch.

    Args:
        topk: nearest other clusters a sample is moved towards.
        base: base of the degree schedule (``SUPPORT_BASE_LAMBDA``).
        in_memory: supports enter the memory's loss and update (PLI).
        clamp_topk: use fewer neighbours where there are not ``topk`` other clusters.
        lp_weight, lp_temp, lp_grouping: the label-preserving loss; weight 0 leaves it out.
        num_instances: images per cluster in a batch; the "chunk" grouping counts with it.
    """

    topk: int = 1
    base: float = 1.0
    in_memory: bool = True
    clamp_topk: bool = False
    lp_weight: float = 0.1
    lp_temp: float = 0.6
    lp_grouping: str = "label"
    num_instances: int = 16

    @classmethod
    def from_config(cls, cfg: CfgNode) -> SupportSamples:
        ise = cfg.METHOD.ISE
        return cls(
            base=ise.SUPPORT_BASE_LAMBDA,
            in_memory=ise.SUPPORT_IN_MEMORY,
            num_instances=cfg.DATALOADER.NUM_INSTANCE,
            **settings(ise, "TOPK", "CLAMP_TOPK"),
            **{f"lp_{name}": value for name, value in settings(ise.LP, "WEIGHT", "TEMP", "GROUPING").items()},
        )

    def expand(self, rows: Rows, memory: Memory, at: Position) -> Rows:
        if not self.in_memory and self.lp_weight == 0:
            return rows
        features, targets = rows.features[: rows.real], rows.targets[: rows.real]
        degree, topk, clamp = interpolation_degree(at.progress, 1.0, self.base), self.topk, self.clamp_topk
        known = memory.scores(features) if features.requires_grad else None  # a teacher's have no losses
        if known is None:
            supports = support_samples(features, memory.rows, targets, degree=degree, topk=topk, clamp_topk=clamp)
            made, labels, scores = supports.features, supports.targets, None
        else:
            scores = SupportScores(features, known, memory.rows, targets, degree=degree, topk=topk, clamp_topk=clamp)
            made, labels = scores.supports(), scores.targets
        extras = {**rows.extras, "supports": made, "support_targets": labels, "support_scores": scores}
        if not self.in_memory:
            scored = None if scores is None or len(rows.features) > rows.real else scores.of_features()
            return replace(rows, extras=extras, scored=None if scored is None else (rows.features, scored))
        per_row = len(labels) // rows.real
        camids, indices = (field[: rows.real].repeat_interleave(per_row) for field in (rows.camids, rows.indices))
        together = torch.cat((rows.features.to(made.dtype), made))
        scored = None if scores is None or len(rows.features) > rows.real else scores.with_rows()
        return Rows(
            features=together,
            targets=torch.cat((rows.targets, labels)),
            camids=torch.cat((rows.camids, camids)),
            indices=torch.cat((rows.indices, indices)),
            real=rows.real,
            extras=extras,
            scored=None if scored is None else (together, scored),
        )

    def losses(self, rows: Rows, memory: Memory, at: Position) -> dict[str, Tensor]:
        if self.lp_weight == 0:
            return {}
        targets, made = rows.targets[: rows.real], rows.extras["support_targets"]
        temp, grouping, chunk = self.lp_temp, self.lp_grouping, self.topk * self.num_instances
        scores = rows.extras["support_scores"]
        if scores is not None:
            known = scores.with_features()
            loss = label_preserving_loss_of(known, targets, made, temp=temp, grouping=grouping, chunk=chunk)
        else:
            features, supports = rows.features[: rows.real], rows.extras["supports"]
            loss = label_preserving_loss(features, supports, targets, made, temp=temp, grouping=grouping, chunk=chunk)
        return {"label_preserving": self.lp_weight * loss}


@METHODS.register("ISE")
class ISE(ClusterContrast):
    """Cluster Contrast with :class:`SupportSamples`."""

    own_parts = ("support_samples",)
