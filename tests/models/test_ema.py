from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from unreid.models.base import create_backbone
from unreid.models.ema import MeanTeacher, ema_decay
from unreid.models.embedding import EmbeddingModel


def student() -> EmbeddingModel:
    return EmbeddingModel(create_backbone("resnet_tiny", width=4), num_classes=3)


@given(steps=st.lists(st.integers(0, 5000), min_size=1, max_size=8), alpha=st.floats(0.5, 1.0))
def test_updates_follow_the_formula(steps: list[int], alpha: float) -> None:
    net = nn.Linear(3, 2).double()
    teacher = MeanTeacher(net, alpha)
    expected = net.weight.detach().clone()
    for step in steps:
        with torch.no_grad():
            net.weight.normal_()
        teacher.update(net, step)
        a = min(1 - 1 / (step + 1), alpha)
        expected = a * expected + (1 - a) * net.weight.detach()
    assert torch.allclose(teacher.model.weight, expected, atol=1e-12)


def test_the_ramp_starts_with_a_copy_and_ends_at_alpha() -> None:
    assert ema_decay(0, 0.999) == 0.0
    assert ema_decay(1, 0.999) == 0.5
    assert ema_decay(998, 0.999) <= 0.999 == ema_decay(5000, 0.999)
    net = student()
    teacher = MeanTeacher(net)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_()
    teacher.update(net, 0)
    for ours, theirs in zip(teacher.model.parameters(), net.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_frozen_parameters_follow_and_buffers_do_not() -> None:
    net = student()
    teacher = MeanTeacher(net)
    with torch.no_grad():
        net.bottleneck.bias.fill_(2.0)
        net.bottleneck.running_mean.fill_(5.0)
    teacher.update(net, 0)
    assert (teacher.model.bottleneck.bias == 2).all()
    assert not teacher.model.bottleneck.running_mean.any()


def test_in_training_mode_the_teacher_keeps_statistics_of_its_own() -> None:
    net = student().train()
    teacher = MeanTeacher(net).train()
    images = torch.randn(4, 3, 32, 16)
    output = teacher(images, clip_len=2)
    assert not output.embedding.requires_grad and output.logits is not None
    assert int(teacher.model.bottleneck.num_batches_tracked) == 1
    assert int(net.bottleneck.num_batches_tracked) == 0
    assert not any(p.requires_grad for p in teacher.parameters())


def test_it_shares_nothing_with_the_student() -> None:
    net = student()
    teacher = MeanTeacher(net)
    assert not {id(p) for p in net.parameters()} & {id(p) for p in teacher.parameters()}
    assert all(p.requires_grad for name, p in net.named_parameters() if name != "bottleneck.bias")
    assert set(teacher.state_dict()) == {f"model.{name}" for name in net.state_dict()}


def test_an_impossible_decay_is_refused() -> None:
    with pytest.raises(ValueError, match="EMA decay"):
        MeanTeacher(nn.Linear(1, 1), 1.5)
