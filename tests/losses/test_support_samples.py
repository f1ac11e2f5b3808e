"""ISE's support samples and the invariants of a training step with them."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unreid.losses import Supports, interpolation_degree, label_preserving_loss, support_samples
from unreid.losses.support_scores import SupportScores
from unreid.memory import ClusterMemory
from unreid.utils.errors import UserError


def unit(*shape: int) -> Tensor:
    return F.normalize(torch.randn(*shape), dim=-1)


def full_batch(
    clusters: int = 6, classes: int = 4, each: int = 3, dim: int = 8, noise: float = 0.2
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, and features around the rows of some classes."""
    rows = unit(clusters, dim)
    targets = torch.randperm(clusters)[:classes].repeat_interleave(each)
    return rows, F.normalize(rows[targets] + noise * torch.randn(len(targets), dim), dim=1), targets


def test_schedule_grows_from_zero_to_half_its_base() -> None:
    values = [interpolation_degree(t, 1000, base=1.4) for t in range(1001)]
    assert values[0] == 0.0 and values == sorted(values)
    assert values[-1] == pytest.approx(0.7)
    assert values[250] == pytest.approx(0.7 * math.log(1 + (math.e - 1) * 0.25))


@pytest.mark.parametrize("topk", [1, 3])
def test_supports_equal_the_definition(topk: int) -> None:
    rows, features, targets = full_batch()
    result = support_samples(features, rows, targets, degree=0.4, topk=topk)
    assert result.targets.tolist() == [y for y in targets.tolist() for _ in range(topk)]
    for i, (f, y) in enumerate(zip(features, targets.tolist())):
        others = sorted((j for j in range(len(rows)) if j != y), key=lambda j, f=f: -float(f @ rows[j]))[:topk]
        assert result.neighbors[i].tolist() == others
        for m, j in enumerate(others):
            expected = F.normalize(f + 0.2 * (rows[j] - rows[y]), dim=0)
            torch.testing.assert_close(result.features[i * topk + m], expected, rtol=0, atol=1e-6)


def test_gradient_reaches_the_features_through_the_supports_but_not_the_rows() -> None:
    rows, features, targets = full_batch()
    rows.requires_grad_()
    features.requires_grad_()
    support_samples(features, rows, targets, degree=0.4).features.square().sum().backward()
    support_samples(features, rows, targets, degree=0.4).features.sum().backward()
    assert rows.grad is None and features.grad.abs().max() > 0


def test_at_the_start_supports_are_the_features() -> None:
    rows, features, targets = full_batch()
    memory = ClusterMemory(8)
    memory.bank = rows
    supports = support_samples(features, rows, targets, degree=interpolation_degree(0, 10))
    torch.testing.assert_close(supports.features, features)
    doubled = memory(torch.cat((features, supports.features)), torch.cat((targets, supports.targets)))
    torch.testing.assert_close(doubled, memory(features.repeat(2, 1), targets.repeat(2)))


def test_supports_move_away_from_their_own_row_towards_the_near_one() -> None:
    rows, features, targets = full_batch(dim=64, noise=0.02)
    near, own = [], []
    for degree in (0.0, 0.25, 0.5):
        supports = support_samples(features, rows, targets, degree=degree)
        assert supports.features.norm(dim=1).sub(1).abs().max() < 1e-6
        near.append((supports.features * rows[supports.neighbors[:, 0]]).sum(1))
        own.append((supports.features * rows[targets]).sum(1))
    assert (near[0] < near[1]).all() and (near[1] < near[2]).all()
    assert (own[0] > own[1]).all() and (own[1] > own[2]).all()


def ise_step(features: Tensor, rows: Tensor, targets: Tensor, update: str) -> tuple[Tensor, Tensor, Tensor]:
    """Memory loss, label-preserving loss, rows after the update."""
    memory = ClusterMemory(rows.shape[1], update=update, momentum=0.2)
    memory.bank = rows.clone()
    supports = support_samples(features, rows, targets, degree=0.4)
    both, labels = torch.cat((features, supports.features)), torch.cat((targets, supports.targets))
    losses = memory(both, labels), label_preserving_loss(features, supports.features, targets, supports.targets)
    memory.update(both, labels)
    return *losses, memory.bank


def test_permuting_the_batch_changes_only_the_every_sample_update() -> None:
    rows, features, targets = full_batch()
    order = torch.arange(len(targets)).flip(0)
    for update in ("hard", "all"):
        plain, permuted = (
            ise_step(f, rows, y, update) for f, y in ((features, targets), (features[order], targets[order]))
        )
        torch.testing.assert_close(plain[:2], permuted[:2])
        assert torch.allclose(plain[2], permuted[2], atol=1e-6) == (update == "hard")


def test_too_few_clusters_are_refused_or_clamped() -> None:
    rows, features, targets = full_batch(clusters=3, classes=3)
    with pytest.raises(UserError, match=r"TOPK = 3 needs at least 4 clusters, but this round has 3"):
        support_samples(features, rows, targets, degree=0.1, topk=3)
    clamped = support_samples(features, rows, targets, degree=0.1, topk=3, clamp_topk=True)
    assert clamped.neighbors.shape == (9, 2)
    with pytest.raises(UserError, match="needs at least"):
        support_samples(features[:3], rows[:1], torch.zeros(3, dtype=torch.int64), degree=0.1, clamp_topk=True)


def test_float32_under_autocast() -> None:
    rows, features, targets = full_batch()
    plain = support_samples(features, rows, targets, degree=0.4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = support_samples(features, rows, targets, degree=0.4)
    assert isinstance(mixed, Supports) and all(torch.equal(a, b) for a, b in zip(plain, mixed))


@pytest.mark.parametrize("topk", [1, 3])
@pytest.mark.parametrize("length", [1.0, 0.7])
def test_scores_of_supports_follow_from_those_of_the_features(topk: int, length: float) -> None:
    """Values and gradients, in float64; dropout behind the normalisation gives features of other lengths."""
    rows, features, targets = (value.double() if value.is_floating_point() else value for value in full_batch())
    features = (length * features).requires_grad_()
    supports = support_samples(features, rows, targets, degree=0.4, topk=topk)
    expected = (
        F.normalize(torch.cat((features, supports.features)), dim=1) @ rows.t(),
        features @ supports.features.t(),
    )
    known = features @ rows.t()
    scores = SupportScores(features, known, rows, targets, degree=0.4, topk=topk)
    assert torch.equal(scores.neighbors, supports.neighbors) and torch.equal(scores.targets, supports.targets)
    torch.testing.assert_close(scores.supports(), supports.features)
    torch.testing.assert_close(scores.of_features(), expected[0][: len(features)])
    for found, wanted in zip((scores.with_rows(), scores.with_features()), expected):
        torch.testing.assert_close(found, wanted)
        weights = torch.linspace(-1, 1, wanted.numel()).view_as(wanted)
        gradients = [
            torch.autograd.grad((value * weights).sum(), features, retain_graph=True)[0] for value in (found, wanted)
        ]
        torch.testing.assert_close(*gradients)
