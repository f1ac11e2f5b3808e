"""What the trainer makes of a method: labels that live for several rounds, mixed precision, skipped steps."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.engine.stored import load_run
from tests.methods.conftest import MakeConfig
from tests.methods.toys import PIXELS, toy_method, toy_trainer
from unreid.engine.hooks import Hook
from unreid.engine.precision import Precision
from unreid.engine.run import run
from unreid.methods import Method
from unreid.methods.instance_discrimination import nt_xent
from unreid.structures import Clustering, RoundPlan, StepOutput

N = 48
CAMIDS = torch.arange(N) % 3


def images() -> Tensor:
    """Six look-alike groups of eight."""
    generator = torch.Generator().manual_seed(3)
    centres = torch.randn(6, PIXELS, generator=generator)
    pixels = centres[torch.arange(N) % 6] + 0.2 * torch.randn(N, PIXELS, generator=generator)
    return pixels.unflatten(1, (3, 2, 2))


def method(*overrides: Any) -> Method:
    graph = ("CLUSTER.K1", 8, "CLUSTER.K2", 2, "CLUSTER.MIN_SAMPLES", 2, "CLUSTER.EPS", 0.7)
    return toy_method(*graph, "OPTIM.EPOCHS", 5, "DATALOADER.ITERS", 3, *overrides, camids=CAMIDS)


class Watch(Hook):
    """Banks at the start and at the end of every epoch, and the rounds that were labelled."""

    def __init__(self) -> None:
        self.labelled: list[int] = []
        self.first: list[Tensor] = []
        self.last: list[Tensor] = []

    def after_label(self, clustering: Clustering, plan: RoundPlan) -> None:
        self.labelled.append(self.trainer.state.round)

    def before_epoch(self) -> None:
        self.first.append(self.trainer.method.memory.bank.clone())

    def after_epoch(self) -> None:
        self.last.append(self.trainer.method.memory.bank.clone())


def test_labels_and_memory_live_on_between_two_labellings() -> None:
    watch = Watch()
    toy_trainer(method(), images(), hooks=[watch], relabel_every=2).train()
    assert watch.labelled == [0, 2, 4]
    assert torch.equal(watch.first[1], watch.last[0]) and torch.equal(watch.first[3], watch.last[2])
    assert not torch.equal(watch.first[2], watch.last[1])


def test_every_round_is_labelled_unless_told_otherwise() -> None:
    watch = Watch()
    toy_trainer(method(), images(), hooks=[watch]).train()
    assert watch.labelled == [0, 1, 2, 3, 4]


# ------------------------------------------------------------------------------------------------- precision


class OverflowingScaler:
    """A gradient scaler that meets an overflow in given steps, as fp16 does now and then."""

    def __init__(self, bad_steps: set[int]) -> None:
        self.bad_steps, self.steps, self.factor = bad_steps, 0, 1024.0

    def is_enabled(self) -> bool:
        return True

    def scale(self, loss: Tensor) -> Tensor:
        return loss

    def unscale_(self, optimizer: torch.optim.Optimizer) -> None: ...

    def get_scale(self) -> float:
        return self.factor

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        if self.steps not in self.bad_steps:
            optimizer.step()

    def update(self) -> None:
        self.factor *= 0.5 if self.steps in self.bad_steps else 1.0
        self.steps += 1

    def state_dict(self) -> dict[str, float]:
        return {"scale": self.factor}


def snapshot(method: Method) -> list[Tensor]:
    parameters = [*method.model.parameters(), *method.teacher.model.parameters()]
    return copy.deepcopy([method.memory.bank, *(p.data for p in parameters)])


class Changes(Hook):
    """Whether weights, memory and teacher changed in each step."""

    def __init__(self) -> None:
        self.changed: list[set[bool]] = []

    def after_label(self, clustering: Clustering, plan: RoundPlan) -> None:
        self.before = snapshot(self.trainer.method)

    def after_step(self, output: StepOutput) -> None:
        now = snapshot(self.trainer.method)
        moved = [not torch.equal(a, b) for a, b in zip(self.before, now) if a.numel() != 8]  # BN: the bias stays
        self.changed.append(set(moved))
        self.before = now


def test_a_step_that_the_scaler_skips_moves_neither_memory_nor_teacher() -> None:
    changes, precision = Changes(), Precision()
    precision.scaler = OverflowingScaler({1, 4})  # type: ignore[assignment]
    family = method("MODEL.EMA.ENABLED", True, "MODEL.EMA.ALPHA", 0.5, "OPTIM.EPOCHS", 2)
    trainer = toy_trainer(family, images(), hooks=[changes], precision=precision)
    trainer.train()
    assert trainer.state.global_step == 6, "a skipped step is a step of the run"
    assert changes.changed == [{True}, {False}, {True}, {True}, {False}, {True}]


@pytest.mark.parametrize("file", ["CDSM_synthetic.yml", "ISE_synthetic.yml", "SpCL_synthetic.yml", "BUC_synthetic.yml"])
def test_bfloat16_trains_finite_weights_in_float32(file: str, tiny_config: MakeConfig) -> None:
    """Student and teacher run under autocast; memory, losses and weights stay in float32."""
    cfg = tiny_config("OPTIM.AMP", "bf16", "OPTIM.EPOCHS", "2", "METHOD.BUC.ROUNDS", "2", file=file)
    assert run(cfg)["finished"]
    state = load_run(Path(cfg.OUTPUT_DIR) / "checkpoint.pth")
    tensors = [*state["model"].values(), *_tensors(state["method"])]
    floats = [tensor for tensor in tensors if tensor.is_floating_point()]
    assert floats and all(tensor.dtype == torch.float32 and torch.isfinite(tensor).all() for tensor in floats)


def _tensors(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict):
        for value in state.values():
            yield from _tensors(value)


def test_features_in_bfloat16_lose_their_precision_before_the_memory_and_not_in_it() -> None:
    """The memory's part of a step is the same, bit for bit, with and without autocast."""
    results = []
    for dtype in (None, torch.bfloat16):
        family = method()
        family.plan(Clustering(torch.arange(N) % 6, 6, features=F.normalize(torch.randn(N, 8), dim=1)), 0)
        family.memory.bank.copy_(F.normalize(torch.arange(48.0).view(6, 8).sin(), dim=1))
        rows = F.normalize(torch.arange(96.0).view(12, 8).cos(), dim=1).bfloat16().float()
        targets = torch.arange(12) % 6
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            results.append(family.memory(rows, targets))
    assert torch.equal(*results)


def test_the_warm_up_s_loss_is_that_of_float32_under_autocast() -> None:
    rows = F.normalize(torch.arange(96.0).view(12, 8).cos(), dim=1)
    with torch.autocast("cpu", torch.bfloat16):
        under = nt_xent(rows, 0.1)
    assert torch.equal(under, nt_xent(rows, 0.1))
