"""BUC, bottom-up clustering (Lin et al., AAAI 2019).

Every sample starts as its own class. A round trains against a lookup table of cluster features that starts at zero,
then the closest clusters merge; network and labels grow up together.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unreid.clustering.bottom_up import BottomUpPartition
from unreid.memory.base import MEMORIES
from unreid.memory.exclusive_table import ExclusiveTable
from unreid.methods.base import METHODS, Extract, Method
from unreid.methods.setup import Setup
from unreid.structures import Batch, Clustering, Position, RoundPlan, StepOutput
from unreid.utils.distributed import all_gather_rows, all_gather_with_grad, from_main
from unreid.utils.errors import UserError
from unreid.utils.settings import settings

if TYPE_CHECKING:
    from unreid.config import CfgNode

logger = logging.getLogger(__name__)

SMALL_BATCH = 64


@METHODS.register("BUC")
class BUC(Method):
    """Bottom-up merging with the exclusive loss; clusters and retrieves on the normalised backbone feature.

    Args:
        merger: the partition and its merging rule.
        table: the lookup table, rebuilt in every round.
        epochs_first, epochs_later: epochs of the first and of every later round.
        lr_first, lr_later, lr_step: their learning rates, divided by ten after ``lr_step`` epochs of a round.
    """

    ignored = (
        "METHOD.EXTRAS",
        "METHOD.LOSSES",
        "MODEL.EMA.ENABLED",
        "CLUSTER.NAME",
        "CLUSTER.FEATURE",
        "OPTIM.SUB_BATCH",
    )
    cluster_feature = "pooled_l2"
    retrieval_feature = "pooled_l2"
    labelling = "merging"

    def __init__(
        self,
        setup: Setup,
        *,
        merger: BottomUpPartition,
        table: ExclusiveTable,
        epochs_first: int,
        epochs_later: int,
        lr_first: float,
        lr_later: float,
        lr_step: int,
    ) -> None:
        super().__init__(setup)
        self.merger = merger
        self.table = table
        self.epochs_first, self.epochs_later = epochs_first, epochs_later
        self.lr_first, self.lr_later, self.lr_step = lr_first, lr_later, lr_step

    @classmethod
    def from_config(cls, cfg: CfgNode, *, model: Any, camids: Tensor) -> BUC:
        if MEMORIES.get(cfg.MEMORY.NAME) is not ExclusiveTable:
            raise UserError(
                f"BUC learns against its own table, not MEMORY.NAME {cfg.MEMORY.NAME}: set it to ExclusiveTable."
            )
        node = cfg.METHOD.BUC
        merger = BottomUpPartition.from_config(cfg, len(camids))
        left = len(camids) - (merger.rounds - 1) * merger.merges
        if left < 2:
            raise UserError(
                f"METHOD.BUC.ROUNDS {merger.rounds} with MERGE_PERCENT {node.MERGE_PERCENT} would merge all "
                f"{len(camids)} samples into one cluster: lower one of them."
            )
        later = node.EPOCHS_LATER or (5 if cfg.DATALOADER.TRAIN_FRAMES == "subset" else 2)
        setup = Setup(
            model,
            camids,
            epochs=cfg.WARMUP.EPOCHS + node.EPOCHS_FIRST + (merger.rounds - 1) * later,
            iters=0,
            camera_centered=cfg.CLUSTER.CAMERA_CENTERED,
            seed=cfg.SEED,
        )
        return cls(
            setup,
            merger=merger,
            table=ExclusiveTable.from_config(cfg, model.feature_dim, camids.device),
            epochs_later=later,
            **settings(node, "EPOCHS_FIRST", "LR_FIRST", "LR_LATER", "LR_STEP"),
        )

    def label(self, round: int, extract: Extract) -> Clustering:
        """Round 0: one cluster a sample, nothing is extracted. Later rounds merge what the last one trained."""
        features = None
        if round > 0:
            with self.phase("extract"):
                trained = extract(self.cluster_feature)
            self.merger.labels = from_main(lambda: self._merge(trained))
            features = trained
        labels = self.merger.labels
        if self.table.init == "cluster_mean":  # the table lives in the space of the training feature
            features = extract("embedding")
        return Clustering(labels, int(labels.max()) + 1, features=features)

    def _merge(self, features: Tensor) -> Tensor:
        with self.phase("cluster"):
            return self.merger.merge(self.centered(features))

    def plan(self, clustering: Clustering, round: int) -> RoundPlan:
        self.table.reset(clustering.features, clustering)
        assert len(self.table.bank) == int(clustering.labels.max()) + 1, "the table must follow the new labels"
        sizes = torch.bincount(clustering.labels[clustering.labels >= 0])
        logger.info("round %d: %d clusters, the largest of %d samples", round, len(sizes), int(sizes.max()))
        return RoundPlan(
            targets=clustering.labels,
            epochs=self.epochs_first if round == 0 else self.epochs_later,
            iters=self.iters,
            optimizer="rebuild",
            lr=self.lr_first if round == 0 else self.lr_later,
            lr_milestones=(self.lr_step,),
            sampler="shuffle",
        )

    def step(self, batch: Batch, at: Position) -> StepOutput:
        output = self.student(batch.views[0], batch.clip_len, batch.camids)
        features = all_gather_with_grad(output.embedding)
        targets = all_gather_rows(batch.targets, equal=True)
        return StepOutput({"exclusive": self.table(features, targets)}, cache=(features.detach(), targets))

    def after_step(self, cache: tuple[Tensor, Tensor], at: Position) -> None:
        features, targets = cache
        # In a batch as small as BUC's all samples may be of one cluster: a bound that spares a look at the device.
        bound = len(targets) if len(targets) <= SMALL_BATCH else None
        self.table.update(features, targets, num_instances=bound)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "merger": self.merger.state_dict(), "table": self.table.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.merger.load_state_dict(state["merger"])
        self.table.load_state_dict(state["table"])

    def check_plan(self, plan: RoundPlan) -> None:
        self.table.check_targets(plan.targets)
