from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from unreid.config import get_cfg
from unreid.engine.optim import LRSchedule, build_optimizer, parameter_groups
from unreid.models.base import create_backbone
from unreid.models.embedding import EmbeddingModel
from unreid.utils.errors import UserError


def cfg_with(*overrides: str) -> object:
    cfg = get_cfg()
    cfg.merge_from_list(list(overrides))
    return cfg


def small_model(**options: object) -> EmbeddingModel:
    return EmbeddingModel(create_backbone("resnet_tiny", width=4), **options)  # type: ignore[arg-type]


@given(period=st.integers(1, 30), gamma=st.floats(0.05, 0.9))
def test_step_equals_torchs_scheduler(period: int, gamma: float) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    theirs = torch.optim.lr_scheduler.StepLR(optimizer, period, gamma)
    ours = LRSchedule(0.3, "step", epochs=60, steps=[period], gamma=gamma)
    for epoch in range(60):
        assert ours(epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        assert ours(epoch + 0.99) == ours(epoch)
        optimizer.step()
        theirs.step()


@given(milestones=st.lists(st.integers(1, 50), min_size=1, max_size=4, unique=True).map(sorted))
def test_multistep_equals_torchs_scheduler(milestones: list[int]) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    theirs = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, 0.1)
    ours = LRSchedule(0.3, "multistep", epochs=60, steps=milestones, gamma=0.1)
    for epoch in range(60):
        assert ours(epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        theirs.step()


def test_cosine_moves_within_an_epoch_and_ends_at_the_minimum() -> None:
    schedule = LRSchedule(1.0, "cosine", epochs=10, min_lr=0.1, warmup_epochs=2, warmup_factor=0.5)
    rates = [schedule(e / 4) for e in range(8, 45)]
    assert rates == sorted(rates, reverse=True)
    assert schedule(2) == 1.0 and schedule(10) == pytest.approx(0.1) and schedule(12) == pytest.approx(0.1)
    assert schedule(6) == pytest.approx(0.55)
    assert schedule(4.5) == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi * 2.5 / 8)))
    assert schedule(0) == 0.5 and schedule(1) == 0.75


def test_warm_up_versions() -> None:
    def rates(**options: object) -> list[float]:
        schedule = LRSchedule(1.0, "constant", epochs=9, warmup_epochs=4, warmup_factor=0.2, **options)  # type: ignore[arg-type]
        return [round(schedule(e), 6) for e in range(6)]

    assert rates() == [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    assert rates(warmup_version="v2") == [0.2, 0.6, 0.8, 1.0, 1.0, 1.0]
    assert rates(warmup_version="v2", warmup_lr_factor=0.1) == [0.02, 0.06, 0.08, 0.1, 1.0, 1.0]
    assert rates(warmup_method="constant") == [0.2] * 4 + [1.0] * 2
    assert rates(warmup_lr_factor=0.1) == rates()  # a v2 key


def test_steps_count_from_the_end_of_the_warm_up() -> None:
    schedule = LRSchedule(1.0, "step", epochs=60, steps=[20], warmup_epochs=10)
    assert [schedule(e) for e in (29, 30, 49, 50)] == pytest.approx([1.0, 0.1, 0.1, 0.01])


def test_wrong_schedules_are_explained() -> None:
    with pytest.raises(UserError, match="one period"):
        LRSchedule(1.0, "step", epochs=9, steps=[3, 6])
    with pytest.raises(UserError, match="ascend"):
        LRSchedule(1.0, "multistep", epochs=9, steps=[6, 3])
    with pytest.raises(UserError, match="no schedule named .poly."):
        LRSchedule(1.0, "poly", epochs=9)


def test_from_config_reads_every_key() -> None:
    cfg = cfg_with(
        "OPTIM.LR", "0.2", "OPTIM.SCHED", "multistep", "OPTIM.STEPS", "[4, 8]", "OPTIM.GAMMA", "0.5",
        "OPTIM.WARMUP_EPOCHS", "2", "OPTIM.WARMUP_METHOD", "constant", "OPTIM.WARMUP_FACTOR", "0.25",
    )  # fmt: skip
    schedule = LRSchedule.from_config(cfg)  # type: ignore[arg-type]
    assert [schedule(e) for e in (0, 2, 4, 8)] == pytest.approx([0.05, 0.2, 0.1, 0.05])
    assert LRSchedule.from_config(cfg, epochs=7).epochs == 7  # type: ignore[arg-type]


def test_only_trained_parameters_are_optimised() -> None:
    model = small_model(freeze_at="layer1")
    (group,) = parameter_groups(model, 0.1)
    ids = {id(p) for p in group["params"]}
    assert ids == {id(p) for p in model.parameters() if p.requires_grad}
    assert id(model.bottleneck.bias) not in ids and id(model.backbone.conv1.weight) not in ids


def test_the_backbone_can_have_a_rate_of_its_own() -> None:
    model = small_model(embed_dim=8)
    optimizer = build_optimizer(
        cfg_with("OPTIM.OPT", "sgd", "OPTIM.LR", "0.1", "OPTIM.BACKBONE_LR_MULT", "0.1"),  # type: ignore[arg-type]
        model,
    )
    backbone, head = optimizer.param_groups
    assert (backbone["lr"], backbone["lr_mult"], head["lr"], head["lr_mult"]) == (pytest.approx(0.01), 0.1, 0.1, 1.0)
    assert {id(p) for p in backbone["params"]} == {id(p) for p in model.backbone.parameters()}
    assert len(head["params"]) == 3  # embedding weight and bias, bottleneck weight
    assert head["nesterov"] and head["momentum"] == 0.9 and head["weight_decay"] == 5e-4


@pytest.mark.parametrize(("name", "coupled"), [("adam", True), ("adamw", False)])
def test_weight_decay_of_adam_is_coupled_and_that_of_adamw_is_not(name: str, coupled: bool) -> None:
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(2.0)
    cfg = cfg_with("OPTIM.OPT", name, "OPTIM.LR", "0.1", "OPTIM.WEIGHT_DECAY", "0.5", "OPTIM.ADAM_BETA1", "0.8")
    optimizer = build_optimizer(cfg, model)  # type: ignore[arg-type]
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.999)
    model.weight.grad = torch.full((1, 1), -0.25)
    optimizer.step()
    # the first step of Adam goes by the sign of the gradient: decay reverses it only when it is part of it
    expected = 2.0 - 0.1 if coupled else 2.0 * (1 - 0.1 * 0.5) + 0.1
    assert model.weight.item() == pytest.approx(expected, abs=1e-5)


def test_a_wholly_frozen_model_is_refused() -> None:
    model = small_model().requires_grad_(False)
    with pytest.raises(UserError, match="FREEZE_AT"):
        build_optimizer(get_cfg(), model)
