"""BUC's merging as a clusterer: from single samples down to a number of clusters, on features that stay as they are."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
from torch import Tensor

from unreid.clustering.base import CLUSTERERS, Clusterer, Turn
from unreid.clustering.bottom_up import merge_clusters, merges_per_round
from unreid.structures import Clustering, PairGraph
from unreid.utils.arrays import as_rows
from unreid.utils.errors import UserError
from unreid.utils.settings import settings


@CLUSTERERS.register("BottomUp")
@dataclass(eq=False)
class BottomUp(Clusterer):
    """Merges of BUC (Lin et al., AAAI 2019) until ``num_clusters`` are left; no outliers.

    The method BUC merges once a round and trains in between; see
    :class:`~unreid.clustering.bottom_up.BottomUpPartition`.

    Args:
        num_clusters: C.
        merge_percent: share of N that one merge removes; the weights of the pairs are fixed within a merge.
        size_penalty, distance, linkage: see :func:`~unreid.clustering.bottom_up.merge_clusters`.

    Raises:
        UserError: (of ``cluster``) there are fewer samples than clusters.
    """

    num_clusters: int
    _: KW_ONLY
    merge_percent: float = 0.05
    size_penalty: float = 0.003
    distance: str = "sqeuclidean"
    linkage: str = "min"

    def __post_init__(self) -> None:
        clusters, share = self.num_clusters, self.merge_percent
        if clusters < 1 or not 0 < share < 1:
            raise ValueError(f"need num_clusters >= 1 and merge_percent in (0, 1), not {clusters}, {share}")

    @classmethod
    def from_config(cls, cfg: Any) -> BottomUp:
        node, merging = cfg.METHOD.BUC, settings(cfg.METHOD.BUC.MERGE, "DISTANCE", "LINKAGE")
        return cls(cfg.CLUSTER.NUM_CLUSTERS, **settings(node, "MERGE_PERCENT", "SIZE_PENALTY"), **merging)

    def _cluster(self, features: Tensor, graph: PairGraph | None, turn: Turn) -> Clustering:
        features = as_rows(features)
        count = len(features)
        if count < self.num_clusters:
            raise UserError(f"Bottom-up merging cannot make {self.num_clusters} clusters of {count} samples: lower it.")
        labels = torch.arange(count)
        while count > self.num_clusters:
            merges = min(merges_per_round(len(features), self.merge_percent), count - self.num_clusters)
            labels = merge_clusters(
                features,
                labels,
                merges,
                size_penalty=self.size_penalty,
                distance=self.distance,
                linkage=self.linkage,
            )
            count = int(labels.max()) + 1
        return Clustering(labels, count)
