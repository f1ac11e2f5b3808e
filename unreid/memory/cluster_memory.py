"""Cluster Contrast's memory: one unit row a cluster, with a choice of update rules."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unreid.memory.base import MEMORIES, Memory
from unreid.memory.contrast import contrastive_loss, cross_entropy
from unreid.memory.negatives import sampled_contrastive_loss
from unreid.memory.update_rules import UPDATE_RULES, write_by_rule
from unreid.structures import Clustering
from unreid.utils.errors import UserError
from unreid.utils.means import segment_means
from unreid.utils.products import products
from unreid.utils.settings import settings


@MEMORIES.register("ClusterMemory")
class ClusterMemory(Memory):
    """One L2-normalised row a cluster; ``loss = mean CE(normalise(x) M^T / temp, y)`` (Dai et al., Cluster Contrast).

    Args:
        dim: D.
        update: name of a rule in ``UPDATE_RULES``: "all", "hard", and 3C's "camera", "hard_camera", "tccl", "chd".
        temp: softmax temperature.
        momentum: weight of the *old* row in an update.
        normalize_inputs: whether inputs and features are L2-normalised here.
        negatives: rows drawn per step as the other clusters of the loss; 0: all rows. For banks so large that the
            full product is felt; see :func:`~unreid.memory.negatives.sampled_contrastive_loss`.
        seed: seeds that draw.

    Example:
        >>> memory = ClusterMemory(2, update="hard")
        >>> memory.reset(torch.eye(2), [0, 1])
        >>> loss = memory(torch.eye(2), [0, 1])
        >>> memory.update(torch.eye(2), [0, 1])
    """

    def __init__(
        self,
        dim: int,
        *,
        update: str = "all",
        temp: float = 0.05,
        momentum: float = 0.1,
        smooth: float = 0.0,
        negatives: int = 0,
        normalize_inputs: bool = True,
        seed: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(dim, normalize_inputs=normalize_inputs, seed=seed, device=device)
        self.rule = UPDATE_RULES.get(update)
        self.needs = self.rule.needs
        self.temp = temp
        self.momentum = momentum
        self.smooth = smooth
        self.negatives = negatives
        if negatives and smooth:
            raise UserError(
                "MEMORY.SMOOTH spreads mass over all clusters and MEMORY.NEGATIVES leaves most out: use one."
            )

    @classmethod
    def from_config(cls, cfg: Any, dim: int, device: torch.device | str | None = None) -> ClusterMemory:
        own = settings(cfg.MEMORY, "UPDATE", "TEMP", "MOMENTUM", "SMOOTH", "NEGATIVES")
        return cls(dim, **own, seed=cfg.SEED, device=device)

    @property
    def num_clusters(self) -> int:
        return len(self.bank)

    @property
    def rows(self) -> Tensor:
        return self.bank

    def scores(self, features: Tensor) -> Tensor | None:
        if self._samples_negatives or not self.normalize_inputs:
            return None
        return products(features.to(self.bank.dtype), self.bank.detach())

    @property
    def _samples_negatives(self) -> bool:
        return 0 < self.negatives < self.num_clusters - 1

    def _fill(self, features: Tensor, clustering: Clustering) -> None:
        if clustering.centroids is None:
            rows, _ = segment_means(features, clustering.labels, clustering.num_clusters)
        else:
            rows = clustering.centroids.to(features)
        self.bank = F.normalize(rows, dim=1)

    def _loss(self, inputs: Tensor, targets: Tensor, weights: Tensor | None, **fields: Any) -> Tensor:
        if self._samples_negatives:
            drawn = torch.randperm(self.num_clusters, generator=self._generator())[: self.negatives]
            drawn = drawn.to(inputs.device, non_blocking=True)
            return sampled_contrastive_loss(inputs, self.bank, targets, drawn, temp=self.temp, weights=weights)
        return contrastive_loss(inputs, self.bank, targets, temp=self.temp, weights=weights, smooth=self.smooth)

    def _loss_of_scores(self, scores: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        return cross_entropy(scores / self.temp, targets, weights=weights, smooth=self.smooth)

    def _write(
        self,
        features: Tensor,
        targets: Tensor,
        num_instances: int | None,
        camids: Tensor | None = None,
        **fields: Any,
    ) -> None:
        if camids is None and "camids" in self.needs:
            raise ValueError("this update rule needs camids")
        write_by_rule(
            *(self.rule, self.bank, features, targets, camids), momentum=self.momentum, num_instances=num_instances
        )
