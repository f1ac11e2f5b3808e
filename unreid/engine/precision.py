"""Mixed precision, loss scaling and gradient clipping of one optimiser step."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from unreid.utils.state import StateError, entries

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """How a loss becomes an optimiser step.

    Args:
        amp: "off", "bf16" or "fp16"; fp16 scales the loss and skips steps whose gradients overflow.
        clip_grad: largest total gradient norm; 0 leaves gradients alone.
        device: the device that autocast works on.
    """

    def __init__(self, amp: str = "off", clip_grad: float = 0.0, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cpu")
        self.dtype = DTYPES.get(amp)
        self.clip_grad = clip_grad
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=amp == "fp16")
        self._scale = self.scaler.get_scale()

    def autocast(self) -> AbstractContextManager[Any]:
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def backward_and_step(self, loss: Tensor, optimizer: torch.optim.Optimizer, model: nn.Module) -> bool:
        """Differentiates and steps; False if the scaler skipped the step because of an overflow."""
        self.scaler.scale(loss).backward()
        if self.clip_grad > 0:
            self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), self.clip_grad)
        self.scaler.step(optimizer)
        self.scaler.update()
        if not self.scaler.is_enabled():
            return True
        before, self._scale = self._scale, self.scaler.get_scale()  # the one place where a step waits for the device
        return self._scale >= before

    def state_dict(self) -> dict[str, Any]:
        return self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            scale = {"scale": float, "growth_factor": float, "backoff_factor": float}
            entries(state, "the state of loss scaling", {**scale, "growth_interval": int, "_growth_tracker": int})
            if min(state["scale"], state["growth_factor"], state["backoff_factor"], state["growth_interval"]) <= 0:
                raise StateError("the state of loss scaling holds values that are not positive")
            self.scaler.load_state_dict(state)
            self._scale = self.scaler.get_scale()
