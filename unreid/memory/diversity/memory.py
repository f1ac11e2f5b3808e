"""CDSM's diversity memory: a centre and several margin slots a cluster, in seven published modes (SMC 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unreid.memory.base import MEMORIES, Memory
from unreid.memory.contrast import cross_entropy
from unreid.memory.diversity import filling as init
from unreid.memory.diversity import terms as loss
from unreid.memory.diversity import writing as rules
from unreid.memory.grouping import group_by_class
from unreid.structures import Clustering
from unreid.utils.products import products
from unreid.utils.registry import Registry
from unreid.utils.settings import settings
from unreid.utils.state import StateError


@dataclass(frozen=True)
class DiversityMode:
    """How a mode lays out, fills, scores and updates the bank.

    Attributes:
        blocks: (fixed, per slot): the bank has ``fixed + per_slot * S`` blocks of C rows.
        fill, terms, mix, write: its parts, see the modules of the same subject.
        row: index of the block that stands for a cluster, or None for the mean over the blocks.
        needs: extra batch fields.
    """

    blocks: tuple[int, int]
    fill: init.Filler
    terms: loss.Terms
    mix: loss.Mix
    write: rules.WriteRule
    row: int | None = 0
    needs: tuple[str, ...] = ()


DIVERSITY_MODES: Registry[DiversityMode] = Registry("diversity memory mode")


def _add(name: str, *aliases: str, mode: DiversityMode) -> None:
    DIVERSITY_MODES.register(name, *aliases)(mode)


def _published(version: str) -> tuple[str, str]:
    # The README of the published code spells it "CMhybird", the code itself "CMhybrid".
    return f"CMhybrid_{version}", f"CMhybird_{version}"


_add("cm", "all", mode=DiversityMode((1, 0), init.mean_block, loss.every_block, loss.total, rules.write_every))
_add(
    "cm_hard",
    "hard",
    mode=DiversityMode((1, 0), init.mean_block, loss.every_block, loss.total, rules.write_hard),
)
_add(
    "cm_hybrid",
    "CMhybird",
    mode=DiversityMode((2, 0), init.two_mean_blocks, loss.every_block, loss.hard_then_mean, rules.write_hybrid, row=1),
)
_add(
    "v2",
    *_published("v2"),
    mode=DiversityMode(
        (1, 1),
        init.mean_with_random_members,
        loss.mean_with_worst_own,
        loss.first_weighted,
        rules.write_instances,
    ),
)
_add(
    "v3",
    *_published("v3"),
    mode=DiversityMode((0, 1), init.chunks_of_all, loss.every_block, loss.total, rules.write_slots, row=None),
)
_add(
    "v4",
    *_published("v4"),
    mode=DiversityMode(
        (1, 1),
        init.core_mean_with_core_chunks,
        loss.centre_with_mean_own,
        loss.second_weighted,
        rules.write_diverse,
    ),
)
_add(
    "v5",
    *_published("v5"),
    mode=DiversityMode(
        (1, 1),
        init.core_mean_with_core_chunks,
        loss.centre_with_mean_own,
        loss.second_weighted,
        rules.write_reliable_diverse,
        needs=("reliable",),
    ),
)


@MEMORIES.register("DiversityMemory")
class DiversityMemory(Memory):
    """Several rows a cluster, stored block-wise: row ``k * C + c`` is block k of cluster c.

    Args:
        dim: D.
        mode: "cm", "cm_hard", "cm_hybrid", "v2", "v3", "v4" or "v5" (the paper's), or a published spelling.
        slots: S, margin slots a cluster (v2 .. v5).
        hard_weight: w, weight of the margin (v4, v5), hard (cm_hybrid) or mean (v2) part.
        temp, momentum, smooth: as in :class:`~unreid.memory.cluster_memory.ClusterMemory`.
        normalize_inputs: whether inputs and features are L2-normalised here.
        use_reliability: v5: whether the field ``reliable`` is asked for. It is a bool (B,) telling which samples may
            enter margin slots besides a class's first; None lets all in.
        seed: seeds the draws of v2's first content.
        device: where the bank lives.
    """

    def __init__(
        self,
        dim: int,
        *,
        mode: str = "v5",
        slots: int = 4,
        hard_weight: float = 0.5,
        temp: float = 0.05,
        momentum: float = 0.05,
        smooth: float = 0.0,
        normalize_inputs: bool = True,
        use_reliability: bool = True,
        seed: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(dim, normalize_inputs=normalize_inputs, seed=seed, device=device)
        if slots < 1:
            raise ValueError(f"slots must be at least 1, not {slots}")
        self.mode = DIVERSITY_MODES.get(mode)
        self.needs = self.mode.needs if use_reliability else ()
        self.slots = slots
        self.blocks = self.mode.blocks[0] + self.mode.blocks[1] * slots
        self.hard_weight = hard_weight
        self.temp = temp
        self.momentum = momentum
        self.smooth = smooth

    @classmethod
    def from_config(cls, cfg: Any, dim: int, device: torch.device | str | None = None) -> DiversityMemory:
        """Reads ``MEMORY`` and ``SEED``; raises ``UserError`` for ``MEMORY.NEGATIVES``, which it does not have."""
        cls.refuse(cfg, "NEGATIVES")
        return cls(
            dim,
            mode=cfg.MEMORY.UPDATE,
            **settings(cfg.MEMORY, "SLOTS", "HARD_WEIGHT", "TEMP", "MOMENTUM", "SMOOTH"),
            use_reliability=cfg.MEMORY.RELIABILITY != "off",
            seed=cfg.SEED,
            device=device,
        )

    @property
    def num_clusters(self) -> int:
        """C."""
        return len(self.bank) // self.blocks

    @property
    def rows(self) -> Tensor:
        """(C, D) unit rows: the centre or mean block, or for v3 the mean over the slots."""
        blocks = self._blocks()
        return F.normalize(blocks.mean(0) if self.mode.row is None else blocks[self.mode.row], dim=1)

    def check_targets(self, targets: Tensor) -> None:
        super().check_targets(targets)
        if len(self.bank) % self.blocks:
            raise StateError(f"the memory has {len(self.bank)} rows, which is no multiple of {self.blocks}")

    def loss_logits(self, inputs: Tensor, targets: Tensor) -> list[Tensor]:
        """Logits (B, C) of every cross-entropy of the mode, for prepared inputs (B, D)."""
        similarity = products(inputs / self.temp, self.bank.detach())
        return self.mode.terms(similarity.unflatten(1, (self.blocks, -1)), targets)

    def _blocks(self) -> Tensor:
        return self.bank.view(self.blocks, -1, self.dim)

    def _fill(self, features: Tensor, clustering: Clustering) -> None:
        def here(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(features.device)

        members = init.Members(
            features=features,
            labels=clustering.labels.to(features.device),
            core=here(clustering.core),
            centroids=here(clustering.centroids),
            clusters=clustering.num_clusters,
            slots=self.slots,
            generator=self._generator(),
        )
        self.bank = F.normalize(self.mode.fill(members).flatten(0, 1), dim=1)

    def _loss(self, inputs: Tensor, targets: Tensor, weights: Tensor | None, **fields: Any) -> Tensor:
        values = [
            cross_entropy(logits, targets, weights=weights, smooth=self.smooth)
            for logits in self.loss_logits(inputs, targets)
        ]
        return self.mode.mix(values, self.hard_weight)

    def _write(
        self,
        features: Tensor,
        targets: Tensor,
        num_instances: int | None,
        reliable: Tensor | None = None,
        **fields: Any,
    ) -> None:
        groups = group_by_class(targets, num_instances=num_instances, num_classes=self.num_clusters)
        batch = rules.SlotBatch(
            label=groups.label,
            samples=features[groups.table],
            valid=groups.valid,
            reliable=None if reliable is None else reliable[groups.table],
            slots=self.slots,
            momentum=self.momentum,
        )
        self.mode.write(self._blocks(), batch)
