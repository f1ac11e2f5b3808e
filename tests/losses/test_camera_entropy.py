"""3C's camera entropy weights."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unreid.losses import camera_entropy, camera_entropy_weights

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=30)


@given(pairs)
def test_weights_equal_the_definition(batch: list[tuple[int, int]]) -> None:
    entropy = {}
    for cluster in {y for y, _ in batch}:
        counts = Counter(camera for y, camera in batch if y == cluster)
        total = sum(counts.values())
        entropy[cluster] = -sum(n / total * math.log2(n / total) for n in counts.values())
    scale = len(entropy) / sum(math.exp(h) for h in entropy.values())
    targets, camids = (torch.tensor(values) for values in zip(*batch))
    result = camera_entropy(targets, camids)
    assert result.bits.tolist() == pytest.approx([entropy[y] for y, _ in batch], abs=1e-6)
    assert result.weights.tolist() == pytest.approx([scale * math.exp(entropy[y]) for y, _ in batch], rel=1e-5)
    assert torch.equal(camera_entropy_weights(targets, camids), result.weights)


def test_equal_cluster_sizes_have_mean_weight_one() -> None:
    targets, camids = torch.arange(64) // 16, torch.randint(6, (64,))
    assert camera_entropy_weights(targets, camids).mean().item() == pytest.approx(1.0)


def test_worked_example_of_the_paper() -> None:
    targets = torch.arange(12) // 4
    camids = torch.tensor([0, 0, 1, 2, 3, 3, 3, 3, 0, 0, 1, 1])
    result = camera_entropy(targets, camids)
    assert result.bits[::4].tolist() == pytest.approx([1.5, 0.0, 1.0])
    assert [round(w, 2) for w in result.weights[::4].tolist()] == [1.64, 0.37, 0.99]


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="camids must be integers of shape|with B at least 1"):
        camera_entropy(torch.zeros(3), torch.zeros(4))
