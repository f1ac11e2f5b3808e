"""Losses against camera proxies, and PPLR's agreements, beside loops over samples."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unreid.losses import (
    cross_agreement,
    hardest_others,
    inter_camera_contrast,
    online_positives,
    proxy_loss,
    proxy_table,
)
from unreid.memory import ProxyMemory
from unreid.memory.camera_proxies import camera_proxies
from unreid.structures import Clustering

seeds = st.integers(0, 10_000)


def worlds(seed: int, samples: int = 30) -> tuple[Tensor, Tensor, torch.Generator]:
    """Labels with outliers, and cameras; some clusters are not seen by every camera."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(-1, 5, (samples,), generator=generator)
    labels = Clustering.from_labels(torch.cat([labels, torch.tensor([0])])).labels  # at least one cluster
    return labels, torch.randint(4, (samples + 1,), generator=generator), generator


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_proxies_are_the_samples_of_one_cluster_in_one_camera(seed: int) -> None:
    labels, camids, generator = worlds(seed)
    found = camera_proxies(labels, camids)
    expected = {(int(c), int(y)) for y, c in zip(labels, camids) if y >= 0}
    assert [(int(c), int(y)) for c, y in zip(found.camera, found.cluster)] == sorted(expected)
    features = torch.randn(len(labels), 6, generator=generator)
    rows = found.rows(features)
    for sample, (y, c) in enumerate(zip(labels.tolist(), camids.tolist())):
        if y < 0:
            assert found.proxy[sample] == -1
            continue
        proxy = int(found.proxy[sample])
        assert (int(found.cluster[proxy]), int(found.camera[proxy])) == (y, c) and found.table[y, c] == proxy
        mean = features[(labels == y) & (camids == c)].mean(0)
        torch.testing.assert_close(rows[proxy], mean / mean.norm(), rtol=1e-4, atol=1e-5)
    for y in range(int(labels.max()) + 1):  # a camera that does not see the cluster: its largest proxy
        counts = torch.bincount(camids[labels == y], minlength=found.table.shape[1])
        for c in (counts == 0).nonzero().flatten().tolist():
            assert counts[found.camera[found.table[y, c]]] == counts.max() and found.cluster[found.table[y, c]] == y


@given(seeds, st.integers(1, 5), st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_online_positives_and_loss_equal_the_definition(seed: int, count: int, negatives: int) -> None:
    labels, camids, generator = worlds(seed)
    found = camera_proxies(labels, camids)
    sizes = torch.bincount(found.camera).tolist()
    mixed, logits = torch.randn(2, 7, len(found.camera), generator=generator)
    positives = online_positives(mixed, sizes, count)
    others = hardest_others(mixed, positives.proxies, negatives)
    losses = proxy_loss(logits.gather(1, positives.beside(others)), positives, others)
    for row, values in enumerate(mixed):
        best = [
            max((c == found.camera).nonzero().flatten().tolist(), key=lambda p: float(values[p]))
            for c in found.camera.unique()
        ]
        chosen = sorted(best, key=lambda p: -float(values[p]))[:count]
        assert sorted(positives.proxies[row].tolist()) == sorted(chosen)
        rest = sorted((p for p in range(len(values)) if p not in chosen), key=lambda p: -float(values[p]))
        log = logits[row][chosen + rest[:negatives]].log_softmax(0)
        torch.testing.assert_close(losses[row], -log[: len(chosen)].mean(), rtol=1e-4, atol=1e-5)


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_the_table_names_a_proxy_of_the_cluster_also_where_a_camera_has_none(seed: int) -> None:
    labels, camids, _ = worlds(seed)
    found = camera_proxies(labels, camids)
    table = proxy_table(found.cluster, found.camera)
    seen = found.camera[found.table] == torch.arange(found.table.shape[1])
    assert torch.equal(table[seen], found.table[seen])
    assert bool((found.cluster[table] == torch.arange(len(table))[:, None]).all())


def test_a_world_of_one_cluster_and_one_camera_has_a_finite_gradient() -> None:
    features = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    zeros = torch.zeros(3, dtype=torch.int64)
    loss = inter_camera_contrast(features, zeros, zeros, torch.eye(1, 4), zeros[:1], zeros[:1])
    loss.backward()
    assert float(loss.detach()) == 0 and features.grad is not None and not features.grad.any()


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_contrast_with_other_cameras_equals_the_definition(seed: int) -> None:
    labels, camids, generator = worlds(seed)
    found = camera_proxies(labels, camids)
    features = torch.randn(len(labels), 6, generator=generator)
    rows = found.rows(features)
    batch = (labels >= 0).nonzero().flatten()[:9]
    loss = inter_camera_contrast(
        features[batch], labels[batch], camids[batch], rows, found.cluster, found.camera, hard_negatives=3
    )
    total = 0.0
    for sample in batch.tolist():
        logits = torch.nn.functional.normalize(features[sample], dim=0) @ rows.T / 0.07
        same = found.cluster == labels[sample]
        positive = (same & (found.camera != camids[sample])).nonzero().flatten().tolist()
        others = sorted((~same).nonzero().flatten().tolist(), key=lambda p: -float(logits[p]))[:3]
        if positive:
            total -= float(logits[positive + others].log_softmax(0)[: len(positive)].mean())
    assert float(loss) == pytest.approx(total / len(batch), rel=1e-3, abs=1e-4)


def test_agreement_is_the_jaccard_index_of_two_lists() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.stack([torch.randperm(15, generator=generator)[:6] for _ in range(9)]) for _ in range(2))
    found = cross_agreement(one, other)
    for row in range(9):
        a, b = set(one[row].tolist()), set(other[row].tolist())
        assert float(found[row]) == pytest.approx(len(a & b) / len(a | b))
    assert torch.equal(cross_agreement(one, one.flip(1)), torch.ones(9))
    with pytest.raises(ValueError, match="one shape"):
        cross_agreement(one, other[:, :5])


def test_only_the_own_proxy_of_a_sample_moves() -> None:
    labels, camids, generator = worlds(3)
    features = torch.nn.functional.normalize(torch.randn(len(labels), 6, generator=generator), dim=1)
    memory = ProxyMemory(6, momentum=0.2)
    memory.reset(features, Clustering.from_labels(labels), camids=camids)
    before = memory.bank.clone()
    sample = int((labels >= 0).nonzero()[0])
    moved = torch.nn.functional.normalize(torch.randn(1, 6, generator=generator), dim=1)
    memory.update(moved, labels[[sample]], camids=camids[[sample]])
    own = int(memory.table[labels[sample], camids[sample]])
    row = 0.2 * before[own] + 0.8 * moved[0]
    torch.testing.assert_close(memory.bank[own], row / row.norm())
    others = torch.arange(len(before)) != own
    assert torch.equal(memory.bank[others], before[others])


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_seen_negatives_lie_in_cameras_of_the_own_cluster(seed: int) -> None:
    labels, camids, generator = worlds(seed)
    features = torch.nn.functional.normalize(torch.randn(len(labels), 6, generator=generator), dim=1)
    memory = ProxyMemory(6, online=False, negatives="seen", hard_negatives=2)
    memory.reset(features, Clustering.from_labels(labels), camids=camids)
    batch = (labels >= 0).nonzero().flatten()[:9]
    rows = features[batch].clone().requires_grad_()
    loss = memory(rows, labels[batch], camids=camids[batch])
    loss.backward()
    found = camera_proxies(labels, camids)
    losses = []
    for sample in batch.tolist():
        logits = features[sample] @ memory.bank.t() / 0.07
        own = found.cluster == labels[sample]
        seen = torch.isin(found.camera, found.camera[own])
        others = sorted((~own & seen).nonzero().flatten().tolist(), key=lambda p: -float(logits[p]))[:2]
        chosen = own.nonzero().flatten().tolist()
        losses.append(-logits[chosen + others].log_softmax(0)[: len(chosen)].mean())
    cameras = camids[batch]
    expected = sum(torch.stack(losses)[cameras == camera].mean() for camera in cameras.unique())
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-3, atol=1e-4)
    assert rows.grad is not None and bool(rows.grad.isfinite().all())
