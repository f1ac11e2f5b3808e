"""How a batch of teacher features changes CDSM's diversity memory (SMC 2022).

A rule gets the bank as (blocks, C, D) and changes it in place. All of them look at the bank as it was during forward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unreid.memory.diversity.selection import select_diverse
from unreid.memory.grouping import pick
from unreid.memory.update_rules import blend, every_sample, hardest_sample


@dataclass(frozen=True)
class SlotBatch:
    """The samples of a batch by class (P classes, at most K samples each) and the options of an update.

    Attributes:
        label: int64 (P,).
        samples: (P, K, D), batch order inside a class.
        valid: bool (P, K).
        reliable: bool (P, K) or None.
        slots: S.
        momentum: weight of the old row.
    """

    label: Tensor
    samples: Tensor
    valid: Tensor
    reliable: Tensor | None
    slots: int
    momentum: float


WriteRule = Callable[[Tensor, SlotBatch], None]


def write_every(bank: Tensor, batch: SlotBatch) -> None:
    """CM: Cluster Contrast's sequential update of the only block."""
    rows = every_sample(bank[0, batch.label], batch.samples, batch.valid, None, batch.momentum)
    bank[0].index_copy_(0, batch.label, rows)


def write_hard(bank: Tensor, batch: SlotBatch) -> None:
    """CMhard: the hardest sample, once per class, into block 0."""
    rows = hardest_sample(bank[0, batch.label], batch.samples, batch.valid, None, batch.momentum)
    bank[0].index_copy_(0, batch.label, rows)


def write_mean(bank: Tensor, batch: SlotBatch, block: int = 0) -> None:
    """The plain mean of the class's samples, blended into a block."""
    count = batch.valid.sum(1, keepdim=True)
    means = (batch.samples * batch.valid.unsqueeze(2)).sum(1) / count
    bank[block].index_copy_(0, batch.label, blend(bank[block, batch.label], means, batch.momentum))


def write_hybrid(bank: Tensor, batch: SlotBatch) -> None:
    """CMhybrid: hardest sample into block 0, mean into block 1."""
    write_hard(bank, batch)
    write_mean(bank, batch, block=1)


def write_instances(bank: Tensor, batch: SlotBatch) -> None:
    """v2: the class's first S samples overwrite the slots as they are; the mean goes into block 0."""
    write_mean(bank, batch)
    _write_slots(bank[1:], batch, *_first_samples(batch), lambda rows, samples: samples)


def write_slots(bank: Tensor, batch: SlotBatch) -> None:
    """v3: the j-th sample is blended into slot j, for the first S samples."""
    _write_slots(bank, batch, *_first_samples(batch), lambda rows, samples: blend(rows, samples, batch.momentum))


def write_diverse(bank: Tensor, batch: SlotBatch) -> None:
    """v4: far-apart samples into the margin slots, the most central one into the centre."""
    _write_selected(bank, batch, lone=False)


def write_reliable_diverse(bank: Tensor, batch: SlotBatch) -> None:
    """v5: as v4, but only reliable samples besides the first; a class of one sample writes slot 1."""
    _write_selected(bank, batch, lone=True)


def _write_selected(bank: Tensor, batch: SlotBatch, lone: bool) -> None:
    reliable = batch.reliable if lone else None
    selection = select_diverse(batch.samples, batch.valid, batch.slots, reliable=reliable, lone=lone)
    centre = pick(batch.samples, selection.centre)
    bank[0].index_copy_(0, batch.label, _linear(bank[0, batch.label], centre, batch))
    # Slots take the selected samples in batch order, not in order of selection.
    slot = torch.where(selection.chosen, selection.chosen.cumsum(1) - 1, batch.slots)
    position = torch.arange(slot.shape[1], device=slot.device).expand_as(slot)
    member = slot.new_zeros(len(slot), batch.slots + 1).scatter_(1, slot, position)[:, : batch.slots]
    filled = torch.arange(batch.slots, device=slot.device) < selection.chosen.sum(1, keepdim=True)
    _write_slots(bank[1:], batch, member, filled, lambda rows, samples: _linear(rows, samples, batch))


def _linear(rows: Tensor, samples: Tensor, batch: SlotBatch) -> Tensor:
    """Rows that leave the unit sphere, as published (v4, v5)."""
    return batch.momentum * rows + (1.0 - batch.momentum) * samples


def _first_samples(batch: SlotBatch) -> tuple[Tensor, Tensor]:
    """Members and mask (P, S) that put sample j of a class into slot j."""
    width = batch.valid.shape[1]
    slot = torch.arange(batch.slots, device=batch.valid.device)
    member = slot.clamp(max=width - 1).expand(len(batch.valid), -1)
    return member, batch.valid.gather(1, member) & (slot < width)


def _write_slots(
    slots: Tensor, batch: SlotBatch, member: Tensor, filled: Tensor, combine: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """``slots[s, label] <- combine(old row, samples[member[s]])`` where ``filled``: (S, C, D), (P, S), (P, S)."""
    picked = batch.samples.gather(1, member.unsqueeze(2).expand(-1, -1, batch.samples.shape[2])).transpose(0, 1)
    rows = slots[:, batch.label]
    rows = torch.where(filled.t().unsqueeze(2), combine(rows, picked), rows)
    slots.index_copy_(1, batch.label, rows)
