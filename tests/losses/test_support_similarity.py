"""Support samples seen through their similarities equal support samples as rows."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unreid.losses import label_preserving_loss_of, support_samples, support_similarities
from unreid.memory import ClusterMemory
from unreid.utils.errors import UserError

LABELS = torch.arange(5).repeat_interleave(3)


def world() -> tuple[Tensor, Tensor]:
    rows = F.normalize(torch.randn(9, 16, dtype=torch.float64), dim=1)
    return rows, F.normalize(rows[LABELS] + 0.1 * torch.randn(15, 16, dtype=torch.float64), dim=1)


@pytest.mark.parametrize("topk", [1, 3])
@pytest.mark.parametrize("degree", [0.0, 0.4])
def test_values_and_gradients_are_those_of_the_supports_as_rows(topk: int, degree: float) -> None:
    rows, features = world()
    results = []
    for shared in (False, True):
        f = features.clone().requires_grad_()
        if shared:
            similarities = support_similarities(f, rows, LABELS, degree=degree, topk=topk)
            supports, to_rows, pairs = similarities.supports, similarities.rows, similarities.pairs
            assert not supports.features.requires_grad
        else:
            supports = support_samples(f, rows, LABELS, degree=degree, topk=topk)
            to_rows = torch.cat((f, supports.features)) @ rows.t()
            pairs = f @ supports.features.t()
        weights = torch.linspace(-1, 1, to_rows.numel(), dtype=torch.float64).view_as(to_rows)
        loss = (weights * to_rows).sum() + (weights[:15, :1] * pairs.square()).sum()
        loss.backward()
        results.append((to_rows, pairs, supports.features, supports.similarity, f.grad))
        integers = (supports.targets, supports.neighbors)
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)
    expected = support_samples(features, rows, LABELS, degree=degree, topk=topk)
    assert torch.equal(integers[0], expected.targets) and torch.equal(integers[1], expected.neighbors)


def test_memory_and_label_preserving_loss_take_the_similarities() -> None:
    rows, features = (tensor.float() for tensor in world())
    memory = ClusterMemory(16)
    memory.bank = rows
    shared = support_similarities(features, memory.rows, LABELS, degree=0.4)
    plain = support_samples(features, memory.rows, LABELS, degree=0.4)
    both, labels = torch.cat((features, plain.features)), torch.cat((LABELS, plain.targets))
    torch.testing.assert_close(memory(both, labels, similarity=shared.rows), memory(both, labels))
    torch.testing.assert_close(
        label_preserving_loss_of(shared.pairs, LABELS, plain.targets),
        label_preserving_loss_of(features @ plain.features.t(), LABELS, plain.targets),
    )
    assert "similarity" in memory.accepts


def test_too_few_clusters_are_refused_or_clamped() -> None:
    rows, features = world()
    with pytest.raises(UserError, match="TOPK = 9 needs at least 10 clusters"):
        support_similarities(features, rows, LABELS, degree=0.1, topk=9)
    clamped = support_similarities(features, rows, LABELS, degree=0.1, topk=9, clamp_topk=True)
    assert clamped.rows.shape == (15 + 15 * 8, 9)
