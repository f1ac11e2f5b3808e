"""How a loss becomes a step: clipping, loss scaling, autocast."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unreid.engine.precision import Precision


def step(precision: Precision, gradient: float) -> tuple[float, bool]:
    """How far two weights with the same gradient move together, with plain SGD at rate 1."""
    model = nn.Linear(2, 1, bias=False)
    start = model.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    done = precision.backward_and_step(gradient * model.weight.sum(), optimizer, model)
    return (start - model.weight.detach()).norm().item(), done


@pytest.mark.parametrize(("limit", "moved"), [(0.0, 5.0), (10.0, 5.0), (1.0, 1.0), (0.25, 0.25)])
def test_the_norm_over_all_gradients_is_clipped(limit: float, moved: float) -> None:
    distance, done = step(Precision(clip_grad=limit), 5 / 2**0.5)
    assert distance == pytest.approx(moved, rel=1e-4) and done


class CPUScaler(torch.amp.GradScaler):
    """The real scaler, on the CPU."""

    def __init__(self, scale: float) -> None:
        super().__init__("cpu", init_scale=scale, growth_interval=10**6)


def scaled(scale: float, clip_grad: float = 0.0) -> Precision:
    precision = Precision("fp16", clip_grad)
    precision.scaler = CPUScaler(scale)
    precision._scale = scale
    return precision


@pytest.mark.parametrize(("limit", "moved"), [(0.0, 5.0), (1.0, 1.0)])
def test_gradients_are_clipped_at_their_true_size(limit: float, moved: float) -> None:
    distance, done = step(scaled(1024.0, limit), 5 / 2**0.5)
    assert distance == pytest.approx(moved, rel=1e-4) and done


def test_an_overflow_skips_the_step_and_says_so_once() -> None:
    precision = scaled(1024.0)
    assert step(precision, float("inf")) == (0.0, False)
    assert precision.scaler.get_scale() == 512.0
    moved, done = step(precision, 1.0)
    assert moved > 1 and done


def test_fp16_scales_and_the_others_do_not() -> None:
    assert Precision("fp16").scaler.is_enabled()
    assert not Precision("bf16").scaler.is_enabled() and not Precision("off").scaler.is_enabled()
    for amp, dtype in (("off", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        with Precision(amp).autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_the_scale_survives_a_resume() -> None:
    precision, restored = scaled(1024.0), scaled(65536.0)  # a new scaler starts high
    step(precision, float("inf"))
    restored.load_state_dict(precision.state_dict())
    assert restored.scaler.get_scale() == 512.0
    assert step(restored, 1.0)[1], "a restored scale is no overflow"
    plain = Precision()
    plain.load_state_dict(plain.state_dict())
    assert step(plain, 1.0)[1]
