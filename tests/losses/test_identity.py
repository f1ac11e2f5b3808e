"""Identity losses against targets written out entry by entry."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from unreid.losses import (
    CrossEntropy,
    LabelSmoothing,
    LossInputs,
    RankedLabelSmoothing,
    ranked_smoothed_cross_entropy,
    smoothed_cross_entropy,
)
from unreid.utils.state import StateError


def slow(logits: Tensor, targets: Tensor, rows: list[dict[int, float]]) -> float:
    """Cross-entropy with a target given per cluster as {cluster: mass}."""
    total = 0.0
    for row, target in zip(logits.double(), targets.tolist()):
        log_probability = row - torch.logsumexp(row, 0)
        total -= sum(mass * float(log_probability[c]) for c, mass in rows[target].items())
    return total / len(logits)


@given(st.integers(2, 12), st.integers(1, 6), st.floats(0, 0.9), st.integers(0, 100))
def test_ranked_smoothing_equals_the_written_out_target(clusters: int, k: int, epsilon: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(5, clusters, generator=generator)
    targets = torch.randint(clusters, (5,), generator=generator)
    width = min(k, clusters - 1)
    others = [
        [c for c in torch.randperm(clusters, generator=generator).tolist() if c != own] for own in range(clusters)
    ]
    nearest = torch.tensor([row[:width] for row in others])
    rows = [{own: 1 - epsilon, **dict.fromkeys(nearest[own].tolist(), epsilon / k)} for own in range(clusters)]
    loss = ranked_smoothed_cross_entropy(logits, targets, nearest, epsilon, k)
    assert float(loss) == pytest.approx(slow(logits, targets, rows), rel=1e-5, abs=1e-6)


@given(st.integers(2, 12), st.floats(0, 0.9), st.integers(0, 100))
def test_smoothing_equals_the_written_out_target(clusters: int, epsilon: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(4, clusters, generator=generator)
    targets = torch.randint(clusters, (4,), generator=generator)
    rows = []
    for own in range(clusters):
        row = dict.fromkeys(range(clusters), epsilon / clusters)
        row[own] += 1 - epsilon
        rows.append(row)
    expected = slow(logits, targets, rows)
    assert float(smoothed_cross_entropy(logits, targets, epsilon)) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_with_too_few_clusters_the_published_target_sums_to_less_than_one() -> None:
    logits, targets = torch.zeros(1, 3), torch.tensor([0])
    loss = ranked_smoothed_cross_entropy(logits, targets, torch.tensor([[1, 2], [0, 2], [0, 1]]), 0.1, k=10)
    assert float(loss) == pytest.approx((0.9 + 2 * 0.01) * torch.log(torch.tensor(3.0)).item())


def test_the_registered_losses_are_those_functions() -> None:
    logits, targets = torch.randn(4, 5), torch.tensor([0, 1, 4, 4])
    inputs = LossInputs(logits, targets, logits=logits)
    assert torch.equal(CrossEntropy()(inputs), torch.nn.functional.cross_entropy(logits, targets))
    assert torch.equal(LabelSmoothing(0.3)(inputs), smoothed_cross_entropy(logits, targets, 0.3))
    ranked = RankedLabelSmoothing(0.3, k=2)
    with pytest.raises(ValueError, match="nearest clusters"):
        ranked(inputs)
    ranked.begin_round(torch.randn(5, 8))
    assert ranked.nearest is not None and ranked.nearest.shape == (5, 2)
    again = RankedLabelSmoothing(0.3, k=2)
    again.load_state_dict(ranked.state_dict())
    assert torch.equal(again(inputs), ranked(inputs))
    with pytest.raises(StateError, match="clusters that are not there"):
        again.load_state_dict({"nearest": torch.tensor([[1], [2]])})


def test_half_precision_logits_are_summed_in_float32() -> None:
    logits = torch.randn(4, 50, dtype=torch.bfloat16)
    loss = smoothed_cross_entropy(logits, torch.arange(4), 0.1)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, smoothed_cross_entropy(logits.float(), torch.arange(4), 0.1))
