"""SpCL's hybrid memory: one row a training sample, whose class means are what the loss compares with (NeurIPS 2020)."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unreid.memory.base import MEMORIES, Memory
from unreid.memory.grouping import group_by_class
from unreid.memory.update_rules import UPDATE_RULES, blend_in_order
from unreid.structures import Clustering
from unreid.utils.arrays import ArrayLike, as_integers
from unreid.utils.errors import InputError, UserError
from unreid.utils.means import segment_means
from unreid.utils.products import products
from unreid.utils.settings import settings
from unreid.utils.state import StateError

EPSILON = 1e-6  # both occurrences belong to the published loss
STORAGE = {"float32": torch.float32, "float16": torch.float16}


@MEMORIES.register("HybridMemory")
class HybridMemory(Memory):
    """Rows M_n of all N samples, labels of all N, and the sums of the rows of every class.

    With ``s_k = <f, mean row of class k> / temp``, ``p_k = exp(s_k) / (sum over non-empty classes of exp(s) + 1e-6)``
    and ``loss = mean -log(p_y + 1e-6)``. An update moves the rows of the batch's samples, sample by sample, and the
    class sums by the difference, so that a step costs (B, C) products and touches B rows, whatever N is.

    Args:
        dim: D.
        temp: softmax temperature.
        momentum: weight of the old row.
        storage: "float32" or "float16", precision of the N rows (class sums are float32).
        normalize_inputs: whether inputs and features are L2-normalised here.
        seed: unused; every memory takes one.
        device: where the rows live.
    """

    needs = ("indices",)
    labels: Tensor
    class_sum: Tensor
    class_size: Tensor

    def __init__(
        self,
        dim: int,
        *,
        temp: float = 0.05,
        momentum: float = 0.2,
        storage: str = "float32",
        normalize_inputs: bool = True,
        seed: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(dim, normalize_inputs=normalize_inputs, seed=seed, device=device)
        if storage not in STORAGE:
            raise ValueError(f"storage must be one of {', '.join(STORAGE)}, not {storage!r}")
        self.temp = temp
        self.momentum = momentum
        self.bank = self.bank.to(STORAGE[storage])
        self.register_buffer("labels", torch.zeros(0, dtype=torch.int64, device=device))
        self.register_buffer("class_sum", torch.zeros(0, dim, device=device))
        self.register_buffer("class_size", torch.zeros(0, dtype=torch.int64, device=device))

    @classmethod
    def from_config(cls, cfg: Any, dim: int, device: torch.device | str | None = None) -> HybridMemory:
        cls.refuse(cfg, "NEGATIVES", "SMOOTH")
        if UPDATE_RULES.get(cfg.MEMORY.UPDATE) is not UPDATE_RULES.get("all"):
            raise UserError(
                f"HybridMemory moves the row of every sample, so MEMORY.UPDATE {cfg.MEMORY.UPDATE} does not work: "
                "set it to all."
            )
        return cls(dim, **settings(cfg.MEMORY, "TEMP", "MOMENTUM", "STORAGE"), seed=cfg.SEED, device=device)

    @property
    def num_clusters(self) -> int:
        """C, classes including those of single samples (and ids that lost all their samples)."""
        return len(self.class_size)

    @property
    def rows(self) -> Tensor:
        """(C, D) normalised class means; zero rows for ids without samples."""
        return F.normalize(self.class_sum, dim=1)

    @property
    def instances(self) -> Tensor:
        """(N, D) rows of the samples, in their storage type: the features that SpCL clusters."""
        return self.bank

    def set_labels(self, labels: ArrayLike) -> None:
        """New classes for the rows as they are (published SpCL: the rows outlive the clustering).

        Args:
            labels: int64 (N,); each sample labelled -1 becomes a class of its own, numbered after the others in list
                order. Ids without samples are allowed and left out of the loss.
        """
        labels = as_integers(labels, "labels")
        if labels.shape != self.bank.shape[:1]:
            raise InputError(f"{len(self.bank)} rows but labels of shape {tuple(labels.shape)}")
        labels = labels.to(self.bank.device)
        alone = labels < 0
        classes = int(labels.max().clamp(min=-1)) + 1
        labels = torch.where(alone, classes + alone.cumsum(0) - 1, labels)
        classes += int(alone.sum())
        means, self.class_size = segment_means(self.bank, labels, classes, dtype=torch.float32)
        self.class_sum = means * self.class_size.unsqueeze(1)
        self.labels = labels

    def check_targets(self, targets: Tensor) -> None:
        super().check_targets(targets)
        if not len(self.labels) == len(self.bank) == len(targets) or len(self.class_sum) != self.num_clusters:
            raise StateError("'bank', 'labels', 'class_sum' and 'class_size' of the memory have contradicting lengths")
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < self.num_clusters:
            raise StateError("'labels' of the memory name classes that are not there")

    def _fill(self, features: Tensor, clustering: Clustering) -> None:
        self._check_room(features)
        self.bank = features.to(self.bank.dtype)
        self.set_labels(clustering.labels)

    def _check_room(self, features: Tensor) -> None:
        if features.device.type != "cuda" or len(self.bank) == len(features):
            return
        wanted = features.numel() * self.bank.element_size()
        free = torch.cuda.mem_get_info(features.device)[0]
        if wanted > free:
            raise UserError(
                f"HybridMemory needs {wanted / 2**30:.1f} GiB for {len(features)} rows, but {free / 2**30:.1f} GiB are "
                "free on the device: set MEMORY.STORAGE to float16, or MODEL.DEVICE to cpu."
            )

    def _loss(
        self,
        inputs: Tensor,
        targets: Tensor,
        weights: Tensor | None,
        indices: Tensor | None = None,
        **fields: Any,
    ) -> Tensor:
        """The class of a sample is that of its row; without ``indices`` (support samples) it is the target."""
        if indices is not None:
            targets = self.labels[indices]
        scale = self.temp * self.class_size.clamp(min=1)
        logits = products(inputs, self.class_sum.detach()) / scale
        logits = logits.masked_fill(self.class_size == 0, -torch.inf)
        own = logits.gather(1, targets.unsqueeze(1)).squeeze(1)
        # By logarithms, since exponentials overflow at low temperatures.
        total = torch.logaddexp(logits.logsumexp(1), logits.new_full((), math.log(EPSILON)))
        losses = -torch.log(torch.exp(own - total) + EPSILON)
        return (losses if weights is None else weights.to(losses.dtype) * losses).mean()

    def _write(
        self,
        features: Tensor,
        targets: Tensor,
        num_instances: int | None,
        indices: Tensor | None = None,
        **fields: Any,
    ) -> None:
        if indices is None:
            raise ValueError("HybridMemory needs indices")
        # A sample may occur several times in a batch: then both updates apply, in batch order.
        repeats = group_by_class(indices, num_instances=num_instances)
        old = self.bank[repeats.label].to(features.dtype)
        new = blend_in_order(old, features[repeats.table], repeats.valid, self.momentum).to(self.bank.dtype)
        self.bank.index_copy_(0, repeats.label, new)

        moved = (new.to(features.dtype) - old)[repeats.group].masked_fill((repeats.rank > 0).unsqueeze(1), 0.0)
        classes = group_by_class(self.labels[indices], num_instances=num_instances, num_classes=self.num_clusters)
        shift = (moved[classes.table] * classes.valid.unsqueeze(2)).sum(1)
        self.class_sum.index_copy_(0, classes.label, self.class_sum[classes.label] + shift)
