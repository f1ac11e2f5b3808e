"""Instance discrimination: every image is its own class, two views of it should meet (Wu et al., CVPR 2018).

The label-free warm-up for networks that start from random weights: the engine runs it for the first
``WARMUP.EPOCHS`` epochs, before the first labelling, whatever the method.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreid.methods.base import Extract, Method
from unreid.methods.setup import Setup
from unreid.models.ema import MeanTeacher
from unreid.structures import Batch, Clustering, Position, RoundPlan, StepOutput
from unreid.utils.distributed import all_gather_with_grad
from unreid.utils.products import gram

if TYPE_CHECKING:
    from unreid.config import CfgNode


class InstanceDiscrimination(Method):
    """NT-Xent loss (Chen et al., ICML 2020, eq. 1) on two strong views of each image of a batch."""

    def __init__(self, setup: Setup, *, temp: float, batch_size: int) -> None:
        super().__init__(setup)
        self.temp = temp
        self.batch_size = batch_size
        self.views = ("strong", "strong")

    @classmethod
    def from_warmup_config(
        cls, cfg: CfgNode, *, model: nn.Module, teacher: MeanTeacher | None, camids: Tensor
    ) -> InstanceDiscrimination:
        """Built from the ``WARMUP`` node; shares the teacher of the method that follows."""
        setup = Setup(model, camids, cfg.WARMUP.EPOCHS, cfg.WARMUP.ITERS, teacher)
        return cls(setup, temp=cfg.WARMUP.TEMP, batch_size=cfg.WARMUP.BATCH_SIZE)

    def label(self, round: int, extract: Extract) -> Clustering:
        """Every sample is its own class; nothing is extracted."""
        return Clustering(torch.arange(self.num_samples), self.num_samples)

    def plan(self, clustering: Clustering, round: int) -> RoundPlan:
        return RoundPlan(
            targets=clustering.labels,
            epochs=self.epochs,
            iters=self.iters,
            sampler="shuffle",
            batch_size=min(self.batch_size, self.num_samples),
        )

    def step(self, batch: Batch, at: Position) -> StepOutput:
        clips = torch.cat(tuple(batch.views))
        camids = batch.camids.repeat(len(batch.views))
        first, second = self.student(clips, batch.clip_len, camids).embedding.chunk(2)
        features = torch.cat((all_gather_with_grad(first), all_gather_with_grad(second)))
        return StepOutput({"instance": nt_xent(features, self.temp)})


def nt_xent(features: Tensor, temp: float) -> Tensor:
    """Normalised-temperature cross-entropy; rows b and B + b of unit (2B, D) features are two views of a sample."""
    count = len(features)
    with torch.autocast(features.device.type, enabled=False):
        logits = gram(features.float()) / temp
    logits.fill_diagonal_(float("-inf"))
    partner = torch.arange(count, device=features.device).roll(count // 2)
    return F.cross_entropy(logits, partner)
