"""The mean teacher: an exponential moving average of the student (Tarvainen and Valpola, 2017)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from unreid.structures import ModelOutput


def ema_decay(step: int, alpha: float) -> float:
    """Weight of the old teacher after global step ``step`` (0-based): ``min(1 - 1 / (step + 1), alpha)``.

    It is 0 at step 0, so the first update makes a copy of the student.
    """
    return min(1.0 - 1.0 / (step + 1), alpha)


class MeanTeacher(nn.Module):
    """Follows a student's parameters, trained or not; it keeps BN buffers of its own.

    The buffers are not averaged: in training mode the teacher updates them from the batches it sees.

    Args:
        student: network to follow; copied at once.
        alpha: largest decay.

    Attributes:
        model: the teacher network, without gradients.
    """

    def __init__(self, student: nn.Module, alpha: float = 0.999) -> None:
        super().__init__()
        if not 0.0 <= alpha <= 1.0:
            raise ValueError(f"the EMA decay lies in [0, 1], not {alpha}")
        self.alpha = alpha
        self.model = copy.deepcopy(student).requires_grad_(False)

    @torch.no_grad()
    def update(self, student: nn.Module, step: int) -> None:
        """``teacher <- a * teacher + (1 - a) * student`` with ``a = ema_decay(step, alpha)``.

        Args:
            student: the network the teacher was made from, without distributed wrapper.
            step: 0-based optimiser step counted over the whole run, also across a resume.
        """
        teacher: list[Tensor] = list(self.model.parameters())
        weight = 1.0 - ema_decay(step, self.alpha)
        torch._foreach_lerp_(teacher, [p.detach() for p in student.parameters()], weight)

    @torch.no_grad()
    def forward(self, images: Tensor, clip_len: int = 1, camids: Tensor | None = None, **options: Any) -> ModelOutput:
        """As the student's ``forward``, without gradients."""
        return self.model(images, clip_len, camids, **options)
