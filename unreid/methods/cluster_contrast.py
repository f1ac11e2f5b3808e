"""Cluster Contrast (Dai et al., ACCV 2022): cross-entropy against a memory of cluster centres.

The step below is also that of CDSM, ISE and 3C: they exchange the clusterer, the memory or add parts.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unreid.memory import build_memory
from unreid.memory.base import Memory
from unreid.methods.base import METHODS, Extract, Method
from unreid.methods.parts import Part, Rows, build_parts, gather_rows, memory_fields, weighted
from unreid.methods.setup import Setup
from unreid.structures import Batch, Clustering, Position, RoundPlan, StepOutput
from unreid.utils.arrays import at_least_float32
from unreid.utils.distributed import all_gather_rows
from unreid.utils.registry import fold
from unreid.utils.state import StateError, require, require_tensor

if TYPE_CHECKING:
    from unreid.config import CfgNode


@METHODS.register("ClusterContrast", "cc")
class ClusterContrast(Method):
    """Normalised features against a memory that is rebuilt every round and follows the batches in between.

    With a teacher (``MODEL.EMA.ENABLED``) its features label the images and update the memory; without one the
    student's own do.
    """

    own_parts: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ("OPTIM.SUB_BATCH",)

    def __init__(
        self,
        setup: Setup,
        *,
        memory: Memory,
        parts: list[Part],
        batch_size: int,
        num_instances: int,
        grouped: bool = True,
        by_proxy: bool = False,
    ) -> None:
        """``batch_size`` and ``num_instances`` are those of the sampler.

        ``grouped``: batches hold groups of ``num_instances`` images of a cluster, or with ``by_proxy`` of a cluster in
        one camera; not those of "shuffle", nor where other images may take the places of unreadable ones.
        """
        super().__init__(setup)
        self.memory = memory
        self.parts = parts
        self.batch_size = batch_size
        self.num_instances = num_instances
        self.grouped = grouped
        self.by_proxy = by_proxy
        self.reliable: Tensor | None = None
        self.group_bound: int | None = None

    @classmethod
    def from_config(cls, cfg: CfgNode, *, model: Any, camids: Tensor) -> ClusterContrast:
        sampler = fold(cfg.DATALOADER.SAMPLER.NAME)
        return cls(
            Setup.from_config(cfg, model=model, camids=camids),
            memory=build_memory(cfg, dim=model.feature_dim, device=camids.device),
            parts=build_parts(cfg, cls.own_parts),
            batch_size=cfg.DATALOADER.TRAIN_BATCH_SIZE,
            num_instances=cfg.DATALOADER.NUM_INSTANCE,
            grouped=sampler != "shuffle" and not cfg.DATALOADER.SKIP_CORRUPT,
            by_proxy=sampler == "proxy",
        )

    def label(self, round: int, extract: Extract) -> Clustering:
        """As the base; where another feature is clustered (``CLUSTER.FEATURE``) the memory is filled from its own."""
        clustering = super().label(round, extract)
        if self.cluster_feature != "embedding":
            with self.phase("extract"):
                clustering.features = extract("embedding")
            clustering.centroids = None
        return clustering

    def plan(self, clustering: Clustering, round: int) -> RoundPlan:
        assert clustering.features is not None
        self.memory.reset(clustering.features, clustering, camids=self.camids)
        self.reliable = None if clustering.reliable is None else clustering.reliable.to(self.camids.device)
        self.group_bound = self._group_bound(clustering.labels)
        return super().plan(clustering, round)

    def step(self, batch: Batch, at: Position) -> StepOutput:
        embedding = self.student(batch.views[0], batch.clip_len, batch.camids).embedding
        rows = gather_rows(at_least_float32(embedding), batch)
        taught = None if self.teacher is None else self.teacher_rows(batch, rows)
        with torch.autocast(rows.features.device.type, enabled=False):
            expanded = weighted(self.parts, self.expand(rows, at))
            loss = self.memory(
                expanded.features,
                expanded.targets,
                weights=expanded.weights,
                scores=expanded.scores,
                **memory_fields(self.memory, expanded, self.reliable),
            )
            losses = {"memory": loss}
            for part in self.parts:
                losses.update(part.losses(expanded, self.memory, at))
            return StepOutput(losses, cache=(expanded if taught is None else self.expand(taught, at)).detach())

    def after_step(self, cache: Any, at: Position) -> None:
        self.memory.update(
            cache.features,
            cache.targets,
            num_instances=self.group_bound and self.group_bound * (len(cache.features) // cache.real),
            **memory_fields(self.memory, cache, self.reliable),
        )
        super().after_step(cache, at)

    def _group_bound(self, labels: Tensor) -> int | None:
        """Most images of one cluster (or proxy) in a batch, so that no update waits for the device; None: no bound.

        A pass of the PK samplers shows every cluster of several images once, with ``num_instances`` images; a batch
        joins as many passes as it needs.
        """
        if not self.grouped or (self.by_proxy and not self.memory.by_camera):
            return None
        if self.by_proxy:
            camids = self.camids.to(labels.device)
            labels = torch.where(labels >= 0, labels * (int(camids.max()) + 1) + camids, -1)
        groups = int((torch.unique(labels[labels >= 0], return_counts=True)[1] > 1).sum())
        if groups == 0:
            return None
        return self.num_instances * math.ceil(self.batch_size / (groups * self.num_instances))

    def expand(self, rows: Rows, at: Position) -> Rows:
        """The rows that enter the memory: the images and what the parts make of them."""
        for part in self.parts:
            rows = part.expand(rows, self.memory, at)
        return rows

    @torch.no_grad()
    def teacher_rows(self, batch: Batch, rows: Rows) -> Rows:
        """The teacher's view of the student's ``rows`` (train mode, so that its BN statistics follow)."""
        assert self.teacher is not None
        features = self.teacher(batch.views[-1], batch.clip_len, batch.camids).embedding
        return replace(rows, features=all_gather_rows(features, equal=True))

    def state_dict(self) -> dict[str, Any]:
        own = {"memory": self.memory.state_dict(), "reliable": self.reliable, "group_bound": self.group_bound}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        require(state["group_bound"], "'group_bound' of the method", (int, type(None)))
        if state["reliable"] is not None:
            require_tensor(state["reliable"], "'reliable' of the method", shape=(self.num_samples,))
        self.memory.load_state_dict(state["memory"])
        self.group_bound = state["group_bound"]
        self.reliable = None if state["reliable"] is None else state["reliable"].to(self.camids.device)

    def check_plan(self, plan: RoundPlan) -> None:
        self.memory.check_targets(plan.targets)
        if self.group_bound is not None and self.group_bound < 1:
            raise StateError(f"'group_bound' of the method is {self.group_bound}")
