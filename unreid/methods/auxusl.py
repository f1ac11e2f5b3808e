"""AuxUSL (arXiv 2205.03124): a mean teacher, a classifier of pseudo identities, and what camera and time tell.

Every round the teacher's raw features are clustered (Jaccard, DBSCAN with an adaptive eps), the classifier starts anew
from the cluster centres, and the student learns from pseudo labels and from the teacher's soft answers. The modules SCP
and STS change the distances that are clustered, TOC keeps overlapping tracklets out of one cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreid.losses import MutualTeachingLoss, Outputs
from unreid.methods.base import METHODS, Method
from unreid.methods.setup import Setup
from unreid.models.ema import MeanTeacher
from unreid.structures import Batch, Clustering, ModelOutput, Position, RoundPlan, StepOutput
from unreid.utils.distributed import all_gather_rows, all_gather_with_grad, get_world_size
from unreid.utils.errors import UserError
from unreid.utils.means import segment_means
from unreid.utils.state import StateError, entries, require

if TYPE_CHECKING:
    from unreid.config import CfgNode


@METHODS.register("AuxUSL")
class AuxUSL(Method):
    """One student, its mean teacher, and four losses (see :class:`~unreid.losses.MutualTeachingLoss`).

    Clusters on the pooled feature, not normalised (mean over frames); retrieves on the embedding.

    Args:
        loss: the objective.
        ema_step: step s of the teacher's decay ``min(1 - 1 / (s + 1), alpha)``: "global" counts the steps of the run,
            "epoch" is the published ``epoch * steps of this epoch + step``, which jumps with dynamic iterations.
        sub_batch: forward and mine in parts of so many samples, each with its own BN statistics, and average their
            losses (AuxUSLReID on one GPU); 0: the whole batch at once.
        setup: see :class:`~unreid.methods.setup.Setup`; a teacher is needed, and a model with a classifier on the
            pooled width.
    """

    cluster_feature = "pooled"
    retrieval_feature = "embedding"

    teacher: MeanTeacher

    def __init__(self, setup: Setup, *, loss: MutualTeachingLoss, ema_step: str = "global", sub_batch: int = 0) -> None:
        super().__init__(setup)
        if self.teacher is None or getattr(self.model, "classifier", None) is None:
            raise ValueError("AuxUSL needs a mean teacher and a model with a classifier")
        if ema_step not in ("global", "epoch"):
            raise ValueError(f"ema_step is 'global' or 'epoch', not {ema_step!r}")
        self.loss = loss
        self.ema_step = ema_step
        self.sub_batch = sub_batch
        self.num_clusters = 0

    @classmethod
    def from_config(cls, cfg: CfgNode, *, model: Any, camids: Tensor) -> AuxUSL:
        if not (cfg.MODEL.EMA.ENABLED and cfg.MODEL.CLASSIFIER):
            raise UserError(
                "AuxUSL learns with a mean teacher and a classifier: set MODEL.EMA.ENABLED and MODEL.CLASSIFIER True, "
                "or start from configs/base/auxusl.yml."
            )
        if model.feature_dim != model.pooled_dim:
            raise UserError(
                "AuxUSL fills the classifier with centres of the pooled feature, so both must be equally wide: set "
                "MODEL.EMBED_DIM 0."
            )
        if cfg.OPTIM.SUB_BATCH and (get_world_size() > 1 or cfg.MODEL.BN_CHUNKS > 1):
            raise UserError("OPTIM.SUB_BATCH is the single-GPU code path: use one process and MODEL.BN_CHUNKS 1.")
        return cls(
            Setup.from_config(cfg, model=model, camids=camids),
            loss=MutualTeachingLoss.from_config(cfg),
            ema_step=cfg.METHOD.AUXUSL.EMA_STEP,
            sub_batch=cfg.OPTIM.SUB_BATCH,
        )

    # ------------------------------------------------------------------------------------------ labelling

    def plan(self, clustering: Clustering, round: int) -> RoundPlan:
        """The classifier's rows become the normalised centres, for student and teacher alike."""
        assert clustering.features is not None
        self.num_clusters = clustering.num_clusters
        centres, _ = segment_means(clustering.features, clustering.labels, self.num_clusters)
        for network in (self.model, self.teacher.model):
            _fill_classifier(network, F.normalize(centres, dim=1, eps=1e-12))
        self.loss.begin_round(centres)
        return super().plan(clustering, round)

    # ------------------------------------------------------------------------------------------- training

    def step(self, batch: Batch, at: Position) -> StepOutput:
        parts = [self._losses(part) for part in self._parts(batch)]
        losses = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
        return StepOutput(losses)

    def after_step(self, cache: Any, at: Position) -> None:
        step = at.global_step if self.ema_step == "global" else at.epoch * at.iters + at.step
        self.teacher.update(self.model, step)

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        """Of the global batch, or of one part of it."""
        student = _current(self.student(batch.views[0], batch.clip_len, batch.camids, classes=self.num_clusters))
        teacher = _current(self.teacher(batch.views[-1], batch.clip_len, batch.camids, classes=self.num_clusters))
        return self.loss(
            Outputs(*(all_gather_with_grad(output) for output in student)),
            Outputs(*(all_gather_rows(output, equal=True) for output in teacher)),
            all_gather_rows(batch.targets, equal=True),
        )

    def _parts(self, batch: Batch) -> Iterator[Batch]:
        size = self.sub_batch or len(batch)
        for start in range(0, len(batch), size):
            rows = slice(start, start + size)
            frames = slice(start * batch.clip_len, (start + size) * batch.clip_len)
            yield replace(
                batch,
                views=[view[frames] for view in batch.views],
                targets=batch.targets[rows],
                camids=batch.camids[rows],
                indices=batch.indices[rows],
            )

    # ---------------------------------------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        losses = {"identity": self.loss.identity.state_dict(), "triplet": self.loss.triplet.state_dict()}
        return {**super().state_dict(), "num_clusters": self.num_clusters, "losses": losses}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        require(state["num_clusters"], "'num_clusters' of the method", int)
        losses = entries(state["losses"], "'losses' of the method", {"identity": dict, "triplet": dict})
        self.num_clusters = state["num_clusters"]
        self.loss.identity.load_state_dict(losses["identity"])
        self.loss.triplet.load_state_dict(losses["triplet"])

    def check_plan(self, plan: RoundPlan) -> None:
        needed = int(plan.targets.max()) + 1
        assert isinstance(self.model.classifier, nn.Linear)
        if not needed <= self.num_clusters <= self.model.classifier.out_features:
            raise StateError(f"the method has {self.num_clusters} clusters and the plan {needed}")


def _current(output: ModelOutput) -> Outputs:
    assert output.logits is not None
    return Outputs(output.pooled, output.logits)


@torch.no_grad()
def _fill_classifier(network: nn.Module, rows: Tensor) -> None:
    """Sets the first rows of the classifier; the others are never looked at in this round."""
    classifier = network.classifier
    assert isinstance(classifier, nn.Linear)
    classifier.weight[: len(rows)] = rows
