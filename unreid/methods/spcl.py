"""SpCL, self-paced contrastive learning (Ge et al., NeurIPS 2020), in its fully unsupervised setting.

One memory row per image; clusters are sets of rows, outliers and distrusted images are classes of their own, and all
images train. After the first round the memory rows themselves are clustered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from unreid.memory.base import HoldsInstances
from unreid.methods.base import METHODS, Extract
from unreid.methods.cluster_contrast import ClusterContrast
from unreid.structures import Clustering
from unreid.utils.errors import UserError

if TYPE_CHECKING:
    from unreid.config import CfgNode


@METHODS.register("SpCL")
class SpCL(ClusterContrast):
    """Cluster Contrast's step on an instance memory (``MEMORY.NAME: HybridMemory``).

    ``fresh_features`` clusters newly extracted features every round instead of the memory rows.
    """

    fresh_features = False

    @classmethod
    def from_config(cls, cfg: CfgNode, *, model: Any, camids: Tensor) -> SpCL:
        method = super().from_config(cfg, model=model, camids=camids)
        assert isinstance(method, SpCL)
        method.fresh_features = cfg.METHOD.SPCL.FRESH_FEATURES
        if not method.fresh_features and not isinstance(method.memory, HoldsInstances):
            raise UserError(
                "SpCL clusters the rows of its memory, one an image: set MEMORY.NAME HybridMemory, "
                "or METHOD.SPCL.FRESH_FEATURES True for another memory."
            )
        if not method.fresh_features and method.cluster_feature != "embedding":
            raise UserError(
                f"SpCL clusters the rows of its memory, so CLUSTER.FEATURE {cfg.CLUSTER.FEATURE} needs "
                "METHOD.SPCL.FRESH_FEATURES True."
            )
        return method

    def label(self, round: int, extract: Extract) -> Clustering:
        """Clusters the memory rows, which the training keeps up to date; features are extracted once, at the start."""
        if self.fresh_features or self.memory.num_clusters == 0:
            return super().label(round, extract)
        rows = self.image_rows().float().clone()
        unreadable = ~rows.any(dim=1).cpu()  # their row is 0 for ever
        return self.cluster(rows, round).without(unreadable)

    def image_rows(self) -> Tensor:
        """(N, D): the memory's rows of the training images."""
        assert isinstance(self.memory, HoldsInstances)
        return self.memory.instances
