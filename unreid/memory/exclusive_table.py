"""BUC's lookup table of cluster features and its repelled (exclusive) loss (AAAI 2019, eq. 2-3)."""

from __future__ import annotations

from typing import Any

import torch

from unreid.memory.base import MEMORIES
from unreid.memory.cluster_memory import ClusterMemory
from unreid.structures import Clustering
from unreid.utils.arrays import ArrayLike, as_integers


@MEMORIES.register("ExclusiveTable")
class ExclusiveTable(ClusterMemory):
    """Rows V start at zero in every round; ``loss = mean CE(u V^T / temp, y)``; ``V_y <- normalise((V_y + u) / 2)``.

    The update is Cluster Contrast's "all" with momentum one half. Inputs are taken as they are: the training feature
    has been through dropout *after* its normalisation, so u is not unit length, and loss and table see it so. With
    V = 0 all logits are 0, hence a round starts at loss ln C.

    Args:
        dim: E, width of the training feature.
        temp: softmax temperature.
        init: "zero" (published), or "cluster_mean": normalised means of ``features`` under the *new* labels.
        options: ``negatives``, ``seed`` and ``device`` of :class:`~unreid.memory.cluster_memory.ClusterMemory`.
    """

    def __init__(self, dim: int, *, temp: float = 0.1, init: str = "zero", **options: Any) -> None:
        super().__init__(dim, update="all", temp=temp, momentum=0.5, normalize_inputs=False, **options)
        if init not in ("zero", "cluster_mean"):
            raise ValueError(f'init must be "zero" or "cluster_mean", not {init!r}')
        self.init = init

    @classmethod
    def from_config(cls, cfg: Any, dim: int, device: torch.device | str | None = None) -> ExclusiveTable:
        own = {"temp": cfg.METHOD.BUC.TEMP, "init": cfg.METHOD.BUC.MEMORY_INIT, "negatives": cfg.MEMORY.NEGATIVES}
        return cls(dim, **own, seed=cfg.SEED, device=device)

    def reset(
        self, features: ArrayLike | None, clustering: Clustering | ArrayLike, *, camids: ArrayLike | None = None
    ) -> None:
        """Exactly one row a cluster of the new labels; ``features`` (N, E) are read by "cluster_mean" only."""
        if not isinstance(clustering, Clustering):
            clustering = Clustering.from_labels(as_integers(clustering, "labels"))
        if self.init == "zero":
            if clustering.num_clusters < 1:
                raise ValueError("a memory cannot be built from a clustering without clusters")
            self.bank = self.bank.new_zeros(clustering.num_clusters, self.dim)
            self.resets += 1
        elif features is None:
            raise ValueError('init "cluster_mean" needs features')
        else:
            super().reset(features, clustering)
