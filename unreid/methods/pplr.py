"""PPLR (Cho et al., CVPR 2022): the whole image and its horizontal parts correct each other's pseudo labels.

Every round the images are clustered by the feature of the whole. How far an image's neighbours by a part agree with its
neighbours by the whole says how much the part can be trusted: trusted parts refine the label of the whole, and parts
that cannot be trusted are not forced to learn it. With cameras, the same cluster in other cameras attracts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreid.losses import (
    agreement_smoothed_loss,
    cross_agreement,
    hardest_triplets,
    inter_camera_contrast,
    proxy_table,
    refined_label_loss,
    smoothed_cross_entropy,
    soft_margin_triplet,
    triplet_distances,
)
from unreid.memory.camera_proxies import camera_proxies
from unreid.methods.base import METHODS, Extract, Method
from unreid.methods.setup import Setup
from unreid.models.part_heads import PartHeads
from unreid.structures import Batch, Clustering, Position, RoundPlan, StepOutput
from unreid.utils.arrays import at_least_float32
from unreid.utils.distributed import all_gather_rows, all_gather_with_grad
from unreid.utils.errors import UserError
from unreid.utils.means import segment_means
from unreid.utils.settings import settings
from unreid.utils.state import StateError, entries, require, require_tensor

if TYPE_CHECKING:
    from unreid.config import CfgNode

SMOOTHING = 0.1  # of the parts before they are smoothed by agreement


@METHODS.register("PPLR")
class PPLR(Method):
    """Part-based pseudo-label refinement, without or with cameras.

    Args:
        neighbors: k of the lists that whole and part are compared by.
        beta: share of the pseudo label in the refined label.
        aals_round: round from which a part's labels are smoothed by its agreement.
        cameras: the contrast with the same cluster in other cameras.
        camera_weight: of that contrast.
        common: see :class:`~unreid.methods.base.Method`; the model needs part heads and classifiers.

    Attributes:
        agreement: float32 (N, P), of every sample and part in this round.
    """

    ignored = (*Method.ignored, "OPTIM.SUB_BATCH", "MODEL.EMA.ENABLED", "CLUSTER.FEATURE")

    def __init__(
        self,
        setup: Setup,
        *,
        neighbors: int = 20,
        beta: float = 0.5,
        aals_round: int = 5,
        cameras: bool = False,
        camera_weight: float = 0.5,
    ) -> None:
        super().__init__(setup)
        heads = getattr(self.model, "part_heads", None)
        if not isinstance(heads, PartHeads) or heads.classifier is None:
            raise ValueError("PPLR needs a model with part heads and classifiers")
        self.heads = heads
        self.neighbors = neighbors
        self.beta = beta
        self.aals_round = aals_round
        self.cameras = cameras
        self.camera_weight = camera_weight
        self.num_clusters = 0
        self.agreement: Tensor | None = None
        self.proxies: dict[str, Tensor] = {}
        self.table: Tensor | None = None  # of the proxies, see proxy_table

    @classmethod
    def from_config(cls, cfg: CfgNode, *, model: Any, camids: Tensor) -> PPLR:
        if not (cfg.MODEL.PARTS and cfg.MODEL.CLASSIFIER):
            raise UserError(
                "PPLR learns with classifiers of the whole image and of its parts: set MODEL.CLASSIFIER True and "
                "MODEL.PARTS 3, or start from configs/base/pplr.yml."
            )
        node = cfg.METHOD.PPLR
        return cls(
            Setup.from_config(cfg, model=model, camids=camids),
            neighbors=node.K,
            **settings(node, "BETA", "AALS_ROUND", "CAMERAS", "CAMERA_WEIGHT"),
        )

    # ------------------------------------------------------------------------------------------ labelling

    def label(self, round: int, extract: Extract) -> Clustering:
        with self.phase("extract"):
            both = extract("embedding+parts")
        features = both[:, : both.shape[1] - self.heads.parts * self.heads.dim]
        clustering = self.cluster(features.contiguous(), round)
        clustering.part_features = both[:, features.shape[1] :].unflatten(1, (self.heads.parts, self.heads.dim))
        return clustering

    def plan(self, clustering: Clustering, round: int) -> RoundPlan:
        """Classifiers from the centres, agreements from the neighbour lists, proxies where cameras are used."""
        features, parts = clustering.features, clustering.part_features
        assert features is not None and parts is not None and self.graph_builder is not None
        self.num_clusters = clustering.num_clusters
        spaces = [features, *(part.contiguous() for part in parts.unbind(1))]
        centres = [self._centres(space, clustering.labels) for space in spaces]
        self._fill_classifiers(centres[0], torch.stack(centres[1:]))
        with self.phase("agreement"):
            lists = [self.graph_builder.search(space, self.neighbors)[1] for space in spaces]
            self.agreement = torch.stack([cross_agreement(lists[0], part) for part in lists[1:]], dim=1)
        if self.cameras:
            found = camera_proxies(clustering.labels.to(self.camids.device), self.camids)
            rows = {"whole": found.rows(features), "parts": torch.stack([found.rows(part) for part in spaces[1:]])}
            self.proxies = {"cluster": found.cluster, "camera": found.camera, **rows}
            self.table = found.table
        return super().plan(clustering, round)

    def _centres(self, features: Tensor, labels: Tensor) -> Tensor:
        return F.normalize(segment_means(features, labels, self.num_clusters)[0], dim=1)

    @torch.no_grad()
    def _fill_classifiers(self, whole: Tensor, parts: Tensor) -> None:
        """Sets the first rows, (C, D) and (P, C, D'); the others are never looked at in this round."""
        classifier = self.model.classifier
        assert isinstance(classifier, nn.Linear) and self.heads.classifier is not None
        classifier.weight[: self.num_clusters] = whole
        self.heads.classifier[:, : self.num_clusters] = parts

    # ------------------------------------------------------------------------------------------- training

    def step(self, batch: Batch, at: Position) -> StepOutput:
        output = self.student(batch.views[0], batch.clip_len, batch.camids, classes=self.num_clusters)
        rows = (output.neck, output.parts, output.logits, output.part_logits)
        neck, parts, logits, part_logits = (at_least_float32(all_gather_with_grad(row)) for row in rows)
        fields = torch.stack((batch.targets, batch.camids, batch.indices), dim=1)
        targets, camids, indices = all_gather_rows(fields, equal=True).unbind(1)
        assert self.agreement is not None
        agreement = self.agreement[indices].to(logits.dtype)
        with torch.autocast(neck.device.type, enabled=False):
            triplets = hardest_triplets(neck, targets)
            losses = {
                "whole": refined_label_loss(logits, part_logits.transpose(1, 2), targets, agreement, beta=self.beta),
                "parts": self._part_loss(part_logits, targets, agreement, at),
                "triplet": soft_margin_triplet(*triplet_distances(neck, triplets), triplets.valid),
            }
            if self.cameras:
                losses["camera"] = self.camera_weight * self._camera_loss(neck, parts, targets, camids)
        return StepOutput(losses)

    def _part_loss(self, logits: Tensor, targets: Tensor, agreement: Tensor, at: Position) -> Tensor:
        """Mean over parts; all parts have as many samples, so that it is the loss of their samples side by side."""
        parts = logits.shape[1]
        logits, targets = logits.flatten(0, 1), targets.repeat_interleave(parts, output_size=parts * len(targets))
        if at.round < self.aals_round:
            return smoothed_cross_entropy(logits, targets, SMOOTHING)
        return agreement_smoothed_loss(logits, targets, agreement.flatten())

    def _camera_loss(self, neck: Tensor, parts: Tensor, targets: Tensor, camids: Tensor) -> Tensor:
        def contrast(features: Tensor, rows: Tensor) -> Tensor:
            known = self.proxies["cluster"], self.proxies["camera"]
            return inter_camera_contrast(features, targets, camids, rows, *known, table=self.table)

        of_parts = [contrast(part, rows) for part, rows in zip(parts.unbind(1), self.proxies["parts"])]
        return contrast(neck, self.proxies["whole"]) + torch.stack(of_parts).mean()

    # ---------------------------------------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        own = {"num_clusters": self.num_clusters, "agreement": self.agreement, "proxies": self.proxies}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        require(state["num_clusters"], "'num_clusters' of the method", int)
        if state["agreement"] is not None:
            require_tensor(
                state["agreement"], "'agreement' of the method", torch.float32, (self.num_samples, self.heads.parts)
            )
        if state["proxies"]:
            self._check_proxies(state["proxies"], state["num_clusters"])
        device = self.camids.device
        self.num_clusters = state["num_clusters"]
        self.agreement = None if state["agreement"] is None else state["agreement"].to(device)
        self.proxies = {name: rows.to(device) for name, rows in state["proxies"].items()}
        self.table = proxy_table(self.proxies["cluster"], self.proxies["camera"]) if state["proxies"] else None

    def _check_proxies(self, state: Any, clusters: int) -> None:
        what = "'proxies' of the method"
        entries(state, what, dict.fromkeys(("cluster", "camera", "whole", "parts"), Tensor))
        count = len(state["cluster"])
        for name in ("cluster", "camera"):
            require_tensor(state[name], f"{name!r} of {what}", torch.int64, (count,))
        if count and not 0 <= int(state["cluster"].min()) <= int(state["cluster"].max()) < clusters:
            raise StateError(f"'cluster' of {what} names clusters that are not there")
        require_tensor(state["whole"], f"'whole' of {what}", shape=(count, None))
        require_tensor(state["parts"], f"'parts' of {what}", shape=(self.heads.parts, count, self.heads.dim))

    def check_plan(self, plan: RoundPlan) -> None:
        needed = int(plan.targets.max()) + 1
        assert isinstance(self.model.classifier, nn.Linear)
        if not needed <= self.num_clusters <= self.model.classifier.out_features:
            raise StateError(f"the method has {self.num_clusters} clusters and the plan {needed}")
        if self.agreement is None or bool(self.proxies) != self.cameras:
            raise StateError("the method lacks 'agreement' or 'proxies'")
