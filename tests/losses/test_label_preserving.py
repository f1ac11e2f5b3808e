"""ISE's label-preserving loss against loops over anchors."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from unreid.losses import label_preserving_loss

TEMP = 0.6
Inputs = tuple[Tensor, Tensor, Tensor, Tensor]


def inputs(labels: list[int], topk: int, seed: int = 0) -> Inputs:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.tensor(labels)
    features = F.normalize(torch.randn(len(labels), 5, generator=generator), dim=1)
    supports = F.normalize(torch.randn(len(labels) * topk, 5, generator=generator), dim=1)
    return features, supports, targets, targets.repeat_interleave(topk)


def slow_loss(batch: Inputs, chunk: int | None) -> Tensor:
    """Anchor by anchor; differentiable."""
    features, supports, targets, support_targets = batch
    total = features.new_zeros(())
    for f, y in zip(features, targets):
        energy = torch.exp(supports @ f / TEMP)
        positive = energy[support_targets == y].min()
        rest = energy[support_targets != y]
        if chunk is None:
            others = support_targets[support_targets != y]
            groups = [rest[others == z].max() for z in others.unique()]
        elif len(rest) % chunk == 0:
            groups = [part.max() for part in rest.split(chunk)] if len(rest) else []
        else:
            groups = list(rest)
        negative = sum(groups, f.new_zeros(()))
        total = total - torch.log(positive / (positive + negative + 1e-6) + 1e-6)
    return total / len(targets)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(1, 3), st.integers(0, 999))
@pytest.mark.parametrize("grouping", ["label", "chunk"])
def test_loss_and_gradients_equal_the_definition(grouping: str, labels: list[int], topk: int, seed: int) -> None:
    chunk = None if grouping == "label" else 2 * topk
    batch = inputs(labels, topk, seed)
    results = []
    for loss in (
        lambda b: label_preserving_loss(*b, temp=TEMP, grouping=grouping, chunk=chunk),
        lambda b: slow_loss(b, chunk),
    ):
        features, supports = batch[0].clone().requires_grad_(), batch[1].clone().requires_grad_()
        value = loss((features, supports, *batch[2:]))
        value.backward()
        results.append((value, features.grad, supports.grad))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)


def test_groupings_agree_on_batches_of_full_groups() -> None:
    batch = inputs([y for y in (3, 0, 2, 5) for _ in range(4)], topk=2)
    by_label = label_preserving_loss(*batch, grouping="label")
    torch.testing.assert_close(by_label, label_preserving_loss(*batch, grouping="chunk", chunk=8))
    mixed = torch.randperm(16)
    features, supports, targets, support_targets = batch
    order = (mixed.unsqueeze(1) * 2 + torch.arange(2)).flatten()
    permuted = features[mixed], supports[order], targets[mixed], support_targets[order]
    torch.testing.assert_close(by_label, label_preserving_loss(*permuted, grouping="label"))


def test_one_class_only_has_no_negatives() -> None:
    features, supports, targets, support_targets = inputs([7, 7, 7], topk=1)
    loss = label_preserving_loss(features.requires_grad_(), supports, targets, support_targets)
    loss.backward()
    positive = torch.exp(features @ supports.t() / TEMP).amin(1)
    expected = -torch.log(positive / (positive + 1e-6) + 1e-6).mean()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-9) and features.grad.isfinite().all()


def test_ties_pass_their_gradient_to_one_support() -> None:
    supports = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]).requires_grad_()
    loss = label_preserving_loss(torch.tensor([[0.6, 0.8]]), supports, torch.tensor([0]), torch.tensor([0, 1, 1]))
    loss.backward()
    assert supports.grad[1].abs().max() > 0 and not supports.grad[2].any()


def test_half_precision_inputs_are_computed_in_float32() -> None:
    batch = inputs([0, 0, 1, 1], topk=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = label_preserving_loss(*batch)
        assert torch.equal(loss, label_preserving_loss(*batch)) and loss.dtype == torch.float32
        assert label_preserving_loss(batch[0].bfloat16(), batch[1].bfloat16(), *batch[2:]).dtype == torch.float32
    assert math.isfinite(loss.item())


@pytest.mark.parametrize("grouping", ["label", "chunk"])
@pytest.mark.parametrize("temp", [0.01, 0.003])
def test_a_low_temperature_is_no_overflow(grouping: str, temp: float) -> None:
    features, *rest = inputs([0, 0, 1, 1, 2, 2], topk=1)
    wide = features.double().requires_grad_()
    features.requires_grad_()
    losses = [label_preserving_loss(one, *rest, temp=temp, grouping=grouping, chunk=2) for one in (features, wide)]
    losses[0].backward()
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-4)
    assert features.grad is not None and features.grad.isfinite().all()


def test_bad_groupings_are_errors() -> None:
    batch = inputs([0, 1], topk=1)
    for options in ({"grouping": "class"}, {"grouping": "chunk"}):
        with pytest.raises(ValueError, match="grouping must be"):
            label_preserving_loss(*batch, **options)
