"""SpCL for domain adaptation (Ge et al., NeurIPS 2020): a labelled source and an unlabelled target in one memory.

Rows of the memory: one a source identity (its class centroid), then one a target image. The classes of the loss are the
source's identities, the target's clusters and its un-clustered images; self-paced labels are of the target alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unreid.memory.hybrid_memory import HybridMemory
from unreid.methods.base import METHODS, Extract, Method
from unreid.methods.cluster_contrast import ClusterContrast
from unreid.methods.parts import gather_rows
from unreid.methods.spcl import SpCL
from unreid.models.domain_bn import joint_batches, start_source
from unreid.structures import Batch, Clustering, Position, RoundPlan, StepOutput
from unreid.utils.errors import UserError
from unreid.utils.means import segment_means

if TYPE_CHECKING:
    from unreid.config import CfgNode


@METHODS.register("SpCL_UDA")
class SpCLUDA(SpCL):
    """SpCL's step on joint batches: half a batch of the source, half of the target, one loss each.

    Attributes:
        source_labels: int64 (S,), identities 0..C_s-1 over the source's list; set by :meth:`take_source`.
        source_classes: C_s.
    """

    ignored = (*Method.ignored, "OPTIM.SUB_BATCH", "MODEL.EMA.ENABLED")
    memory: HybridMemory
    source_labels: Tensor
    source_classes = 0
    source_bound: int | None = None

    @classmethod
    def from_config(cls, cfg: CfgNode, *, model: Any, camids: Tensor) -> SpCLUDA:
        method = super().from_config(cfg, model=model, camids=camids)
        assert isinstance(method, SpCLUDA)
        if not isinstance(method.memory, HybridMemory):
            raise UserError("SpCL_UDA keeps source and target in one hybrid memory: set MEMORY.NAME HybridMemory.")
        if not cfg.DATASETS.SOURCES:
            raise UserError("SpCL_UDA learns from a labelled source: name it in DATASETS.SOURCES, or use SpCL.")
        return method

    def take_source(self, labels: Tensor, extract: Extract) -> None:
        self.source_labels = labels.to(self.camids.device)
        self.source_classes = int(labels.max()) + 1
        self.source_bound = self._group_bound(labels)
        self._extract_source = extract

    def image_rows(self) -> Tensor:
        return self.memory.instances[self.source_classes :]

    def plan(self, clustering: Clustering, round: int) -> RoundPlan:
        assert clustering.features is not None
        rows = torch.cat((self._centroids(), clustering.features.to(self.camids.device, torch.float32)))
        labels = self.joint_labels(clustering.labels)
        self.memory.reset(rows, Clustering(labels, self.source_classes + clustering.num_clusters))
        self.group_bound = self._group_bound(clustering.labels)
        return super(ClusterContrast, self).plan(clustering, round)

    def _centroids(self) -> Tensor:
        """float32 (C_s, D): at first the means of what the encoder makes of the source's images, then the rows."""
        if self.memory.num_clusters:
            return self.memory.instances[: self.source_classes].float()
        start_source(self.model)
        with self.phase("extract"):
            features = self._extract_source("embedding")
        return segment_means(features, self.source_labels, self.source_classes)[0]

    def joint_labels(self, targets: Tensor) -> Tensor:
        """int64 (C_s + N,): the classes of all rows; -1 stays for target images without a label."""
        own = torch.arange(self.source_classes, dtype=targets.dtype, device=targets.device)
        return torch.cat((own, torch.where(targets < 0, targets, targets + self.source_classes)))

    def step(self, batch: Batch, at: Position) -> StepOutput:
        source = batch.source
        assert source is not None
        images = torch.cat((source.views[0], batch.views[0]))
        camids = torch.cat((source.camids, batch.camids))
        with joint_batches(self.model):
            features = self.student(images, batch.clip_len, camids).embedding
        first, second = features.chunk(2)
        known, unknown = gather_rows(first, source), gather_rows(second, batch)
        known = replace(known, indices=known.targets)
        shifted = self.source_classes
        unknown = replace(unknown, targets=unknown.targets + shifted, indices=unknown.indices + shifted)
        losses = {
            name: self.memory(rows.features, rows.targets, indices=rows.indices)
            for name, rows in (("source", known), ("target", unknown))
        }
        return StepOutput(losses, cache=(known.detach(), unknown.detach()))

    def after_step(self, cache: Any, at: Position) -> None:
        for rows, bound in zip(cache, (self.source_bound, self.group_bound), strict=True):
            self.memory.update(rows.features, rows.targets, num_instances=bound, indices=rows.indices)

    def check_plan(self, plan: RoundPlan) -> None:
        super().check_plan(replace(plan, targets=self.joint_labels(plan.targets)))
