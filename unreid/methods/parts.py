"""Parts that any cluster-memory method can take: they add rows to a batch, weigh it, or add a loss.

A part sees the batch as :class:`Rows` and the memory, nothing else, so that it works with every memory, clusterer and
method. ``METHOD.EXTRAS`` names the parts a config adds to those its method brings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unreid.losses.base import Loss, LossInputs, weighted_losses
from unreid.memory.base import Memory
from unreid.structures import Batch, Position
from unreid.utils.distributed import all_gather_rows, all_gather_with_grad, get_world_size
from unreid.utils.errors import UserError
from unreid.utils.registry import Registry

if TYPE_CHECKING:
    from unreid.config import CfgNode

PARTS: Registry[type[Part]] = Registry("part")


@dataclass
class Rows:
    """The samples of a global batch that the memory sees.

    Attributes:
        features: float (R, D); the first ``real`` rows belong to images, the others were made by parts.
        targets: int64 (R,), pseudo labels.
        camids, indices: int64 (R,); made rows inherit those of the sample they come from.
        real: number of image rows.
        weights: float (R,), of the rows' losses, or None for ones.
        extras: what a part has computed on the way and needs again in its losses.
        scored: features, and their cosines (R, C) with the memory's rows, where a part knows them.
    """

    features: Tensor
    targets: Tensor
    camids: Tensor
    indices: Tensor
    real: int
    weights: Tensor | None = None
    extras: dict[str, Any] = field(default_factory=dict)
    scored: tuple[Tensor, Tensor] | None = None

    @property
    def scores(self) -> Tensor | None:
        """The cosines of these features; None where nothing is known, or the features were changed since."""
        return self.scored[1] if self.scored is not None and self.scored[0] is self.features else None

    def detach(self) -> Rows:
        """The rows alone, for the memory's update."""
        return replace(self, features=self.features.detach(), weights=None, extras={}, scored=None)


def gather_rows(features: Tensor, batch: Batch) -> Rows:
    """The global batch, in rank order; gradients flow back to the features of every rank, (B, D) each."""
    if get_world_size() == 1:
        return Rows(features, batch.targets, batch.camids, batch.indices, real=len(batch))
    fields = torch.stack((batch.targets, batch.camids, batch.indices), dim=1)
    targets, camids, indices = all_gather_rows(fields, equal=True).t().contiguous()
    return Rows(all_gather_with_grad(features), targets, camids, indices, real=len(targets))


class Part:
    """Base of all parts; every method is optional."""

    @classmethod
    def from_config(cls, cfg: CfgNode) -> Part:
        return cls()

    def expand(self, rows: Rows, memory: Memory, at: Position) -> Rows:
        """Rows for the memory's loss and update: those given, and equally many more for every image after them."""
        return rows

    def weights(self, rows: Rows) -> Tensor | None:
        """Loss weights (R,) with mean about 1, or None."""
        return None

    def losses(self, rows: Rows, memory: Memory, at: Position) -> dict[str, Tensor]:
        """Further weighted losses, on the rows that :meth:`expand` gave."""
        return {}


class FurtherLosses(Part):
    """The losses of ``METHOD.LOSSES``, on the images of a batch: name -> (weight, loss)."""

    def __init__(self, losses: Mapping[str, tuple[float, Loss]]) -> None:
        for name, (_, loss) in losses.items():
            if loss.reads_logits:
                raise UserError(f"METHOD.LOSSES: {name} reads a classifier, and this method has none: leave it out.")
        self.chosen = losses

    def losses(self, rows: Rows, memory: Memory, at: Position) -> dict[str, Tensor]:
        images = slice(rows.real)
        inputs = LossInputs(rows.features[images], rows.targets[images], camids=rows.camids[images])
        return {name: weight * loss(inputs) for name, (weight, loss) in self.chosen.items()}


def build_parts(cfg: CfgNode, own: Sequence[str] = ()) -> list[Part]:
    """The method's own parts followed by those of ``METHOD.EXTRAS``, each once, and the losses of ``METHOD.LOSSES``."""
    names: list[str] = []
    for name in (*own, *cfg.METHOD.EXTRAS):
        if PARTS.get(name) not in [PARTS.get(known) for known in names]:
            names.append(name)
    parts = [PARTS.get(name).from_config(cfg) for name in names]
    losses = weighted_losses(cfg, cfg.METHOD.LOSSES)
    return [*parts, FurtherLosses(losses)] if losses else parts


def weighted(parts: Sequence[Part], rows: Rows) -> Rows:
    """The rows with the product of the weights that the parts give."""
    found = [weights for part in parts if (weights := part.weights(rows)) is not None]
    return replace(rows, weights=torch.stack(found).prod(dim=0)) if found else rows


def memory_fields(memory: Memory, rows: Rows, reliable: Tensor | None) -> dict[str, Any]:
    """The extra batch fields that a memory declares in ``needs``.

    Args:
        reliable: bool (N,) over the training list, or None where the clusterer gives no reliabilities.
    """
    fields: dict[str, Any] = {}
    if "camids" in memory.needs:
        fields["camids"] = rows.camids
    if "indices" in memory.needs:
        fields["indices"] = rows.indices
    if "reliable" in memory.needs:
        fields["reliable"] = None if reliable is None else reliable[rows.indices]
    return fields
