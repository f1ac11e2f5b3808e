"""Triplet losses against loops over anchors."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from unreid.losses import (
    hardest_triplets,
    soft_margin_triplet,
    soft_triplet,
    triplet_distances,
    weighted_adaptive_triplet,
)


def distance(a: Tensor, b: Tensor) -> float:
    return math.sqrt(max(float((a.double() - b.double()).square().sum()), 1e-12))


def slow(features: Tensor, teacher: Tensor, targets: Tensor, margin: float, lambda_: float) -> dict[str, float]:
    sums = {"hard": 0.0, "watl": 0.0, "soft": 0.0}
    for a in range(len(features)):
        same = [b for b in range(len(features)) if targets[b] == targets[a]]
        other = [b for b in range(len(features)) if targets[b] != targets[a]]
        if not other:
            continue
        p = max(same, key=lambda b: distance(features[a], features[b]))
        n = min(other, key=lambda b: distance(features[a], features[b]))
        gap = distance(features[a], features[p]) - distance(features[a], features[n])
        sums["hard"] += math.log1p(math.exp(gap))
        t = gap + margin
        sums["watl"] += t * math.exp(lambda_ * t) if t > 0 else 0.0
        ap, an = distance(teacher[a], teacher[p]), distance(teacher[a], teacher[n])
        q = math.exp(ap) / (math.exp(ap) + math.exp(an))
        sums["soft"] += q * math.log1p(math.exp(-gap)) + (1 - q) * math.log1p(math.exp(gap))
    return {name: total / len(features) for name, total in sums.items()}


@given(st.integers(2, 12), st.integers(1, 4), st.integers(0, 1000))
def test_losses_equal_loops_over_anchors(batch: int, classes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features, teacher = 3 * torch.randn(2, batch, 6, generator=generator)
    targets = torch.randint(classes, (batch,), generator=generator)
    triplets = hardest_triplets(features, targets)
    distances = triplet_distances(features, triplets)
    found = {
        "hard": soft_margin_triplet(*distances, triplets.valid),
        "watl": weighted_adaptive_triplet(*distances, triplets.valid, margin=0.5, lambda_=-0.075),
        "soft": soft_triplet(*distances, *triplet_distances(teacher, triplets), triplets.valid),
    }
    for name, value in slow(features, teacher, targets, 0.5, -0.075).items():
        assert float(found[name]) == pytest.approx(value, rel=1e-4, abs=1e-6), name


def test_a_batch_without_negatives_gives_a_connected_zero() -> None:
    features = torch.randn(4, 6, requires_grad=True)
    triplets = hardest_triplets(features, torch.zeros(4, dtype=torch.int64))
    assert not triplets.valid.any()
    distances = triplet_distances(features, triplets)
    taught = [d.detach() for d in distances]
    for loss in (
        soft_margin_triplet(*distances, triplets.valid),
        weighted_adaptive_triplet(*distances, triplets.valid),
        soft_triplet(*distances, *taught, triplets.valid),
    ):
        (gradient,) = torch.autograd.grad(loss, features, retain_graph=True)
        assert float(loss.detach()) == 0 and not gradient.any()


def test_a_sample_alone_is_its_own_positive_without_a_gradient_blow_up() -> None:
    features = torch.tensor([[100.0, 0.0], [0.0, 100.0]], requires_grad=True)
    triplets = hardest_triplets(features, torch.tensor([0, 1]))
    assert triplets.positive.tolist() == [0, 1]
    soft_margin_triplet(*triplet_distances(features, triplets), triplets.valid).backward()
    assert features.grad is not None and torch.isfinite(features.grad).all()


@pytest.mark.parametrize(("lambda_", "turns"), [(-1.0, True), (-0.01, False)])
def test_the_gradient_through_the_weight_turns_beyond_its_peak(lambda_: float, turns: bool) -> None:
    positive, negative = torch.tensor([5.0], requires_grad=True), torch.tensor([1.0])
    valid = torch.tensor([True])
    t = 4.5
    loss = weighted_adaptive_triplet(positive, negative, valid, margin=0.5, lambda_=lambda_)
    (gradient,) = torch.autograd.grad(loss, positive)
    assert float(gradient) == pytest.approx(math.exp(lambda_ * t) * (1 + lambda_ * t), rel=1e-5)
    assert (float(gradient) < 0) == turns


def test_far_from_violated_triplets_stay_finite() -> None:
    loss = weighted_adaptive_triplet(torch.zeros(1), torch.full((1,), 1e4), torch.tensor([True]), lambda_=-1.0)
    assert float(loss) == 0
