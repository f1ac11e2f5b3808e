"""What the rest of the engine may ask of a training: its position, and the contract that the trainer keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from unreid.data.joint import JointLoader
from unreid.data.loader import TrainLoader
from unreid.engine.precision import Precision
from unreid.engine.rounds import RoundGuard
from unreid.methods.base import Method
from unreid.structures import Clustering, RoundPlan
from unreid.utils.events import EventStorage


@dataclass
class TrainState:
    """What is finished. ``round`` is -1 during the warm-up; ``step`` counts within the epoch under way.

    ``unreported``: the last epoch is trained, but not scored and reported yet (``Hook.after_epoch``).
    """

    round: int = 0
    epoch: int = 0
    epoch_of_round: int = 0
    step: int = 0
    global_step: int = 0
    unreported: bool = False


class Training(Protocol):
    """A training under way, as hooks and checkpoints see it; see :class:`~unreid.engine.trainer.Trainer`."""

    model: nn.Module
    method: Method
    warmup: Method | None
    optimizer: torch.optim.Optimizer
    precision: Precision
    guard: RoundGuard
    storage: EventStorage
    state: TrainState
    saved: TrainState
    plan: RoundPlan | None
    loader: TrainLoader | JointLoader | None
    clustering: Clustering | None
    hooks: list[Any]
    stop_reason: str | None

    @property
    def max_epochs(self) -> int: ...

    @property
    def iters(self) -> int: ...

    def request_stop(self, reason: str) -> None: ...

    def checked_state(self) -> dict[str, Any]: ...

    def state_dict(self) -> dict[str, Any]: ...
