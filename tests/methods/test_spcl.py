from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.methods.toys import DIM, at_step, toy_batch, toy_clustering, toy_method
from unreid.clustering.base import Clusterer
from unreid.methods import Method
from unreid.structures import Clustering, PairGraph
from unreid.utils.errors import UserError

N = 24
CAMIDS = torch.arange(N) % 3


def spcl(*overrides: Any) -> Method:
    parts = ("MEMORY.NAME", "HybridMemory", "MEMORY.MOMENTUM", 0.2, "CLUSTER.NAME", "SelfPacedDBSCAN")
    small = ("CLUSTER.K1", 6, "CLUSTER.K2", 2, "CLUSTER.MIN_SAMPLES", 2, "DATALOADER.SAMPLER.SINGLETON", "emit")
    return toy_method("METHOD.NAME", "SpCL", *parts, *small, *overrides, camids=CAMIDS)


def groups_of_features(spread: float = 0.25) -> Tensor:
    """Unit features of four groups of five and four images on their own."""
    generator = torch.Generator().manual_seed(4)
    centres = torch.randn(8, DIM, generator=generator)
    of = torch.tensor([*[0, 1, 2, 3] * 5, 4, 5, 6, 7])
    return F.normalize(centres[of] + spread * torch.randn(N, DIM, generator=generator), dim=1)


class Watched(Clusterer):
    """Keeps what it was asked to cluster and answers with given labels."""

    def __init__(self, labels: Tensor) -> None:
        self.labels = labels
        self.seen: list[Tensor] = []

    def cluster(self, features: Tensor, graph: PairGraph | None, **rest: Any) -> Clustering:
        self.seen.append(features.clone())
        return Clustering(self.labels, int(self.labels.max()) + 1)


def extractor(features: Tensor) -> tuple[list[str], Callable[[str], Tensor]]:
    """The names it was asked for, and the function."""
    asked: list[str] = []

    def extract(feature: str) -> Tensor:
        asked.append(feature)
        return features

    return asked, extract


@pytest.mark.parametrize("fresh", [False, True])
def test_after_the_first_round_the_memory_rows_are_clustered(fresh: bool) -> None:
    method = spcl("METHOD.SPCL.FRESH_FEATURES", fresh)
    method.clusterer = Watched(torch.arange(N) % 6)
    features = groups_of_features()
    asked, extract = extractor(features)
    for round in range(3):
        clustering = method.label(round, extract)
        method.plan(clustering, round)
        rows = method.memory.instances.clone()
        batch = toy_batch(torch.arange(0, N, 2), clustering.labels, CAMIDS, seed=round)
        output = method.step(batch, at_step(round))
        method.after_step(output.cache, at_step(round))
        assert not torch.equal(method.memory.instances, rows)
    assert asked == ["embedding"] * (3 if fresh else 1)
    assert torch.equal(method.clusterer.seen[0], features)
    if fresh:
        assert all(torch.equal(seen, features) for seen in method.clusterer.seen)
    else:
        changed = (method.clusterer.seen[1] - features).abs().sum(1) > 1e-6
        assert torch.equal(changed, torch.arange(N) % 2 == 0), "exactly the trained images' rows have moved"


def test_the_rows_outlive_a_clustering() -> None:
    method = spcl()
    method.plan(toy_clustering(torch.arange(N) % 6), 0)
    method.clusterer = Watched(torch.arange(N) % 5)
    before = method.memory.instances.clone()
    method.plan(method.label(1, extractor(before)[1]), 1)
    torch.testing.assert_close(method.memory.instances, before)
    assert method.memory.num_clusters == 5


def test_an_image_that_cannot_be_read_stays_out_of_every_round() -> None:
    """Its features are a row of zeros, and only the first round extracts any."""
    method = spcl()
    features = groups_of_features()
    features[[1, 20]] = 0
    for round in range(2):
        clustering = method.label(round, lambda feature: features)
        clustering = clustering.without(torch.tensor([1, 20] if round == 0 else [], dtype=torch.int64))
        targets = method.plan(clustering, round).targets
        assert targets[[1, 20]].tolist() == [-1, -1] and (targets >= 0).sum() == N - 2


def test_every_image_trains() -> None:
    method = spcl()
    plan = method.plan(method.label(0, extractor(groups_of_features())[1]), 0)
    assert (plan.targets >= 0).all() and len(plan.targets.unique()) == method.memory.num_clusters
    sizes = torch.bincount(plan.targets)
    assert (sizes == 1).sum() >= 3 and (sizes > 1).sum() >= 2, "outliers are classes of one beside true clusters"


def test_the_threshold_of_the_first_round_lasts_and_is_part_of_the_state() -> None:
    method = spcl()
    method.plan(method.label(0, extractor(groups_of_features())[1]), 0)
    threshold = method.clusterer.threshold
    assert threshold is not None
    resumed = spcl()
    resumed.load_state_dict(method.state_dict())
    assert resumed.clusterer.threshold == threshold
    other = groups_of_features(spread=0.6)
    for each in (method, resumed):
        each.memory.bank.copy_(other)
    first, second = (each.label(1, extractor(other)[1]).labels for each in (method, resumed))
    assert torch.equal(first, second) and method.clusterer.threshold == threshold


def test_a_step_is_the_published_loss_and_moves_the_rows_of_its_images() -> None:
    labels = torch.arange(N) % 6
    method = spcl()
    method.plan(toy_clustering(labels), 0)
    rows = method.memory.instances.clone()
    indices = torch.tensor([3, 9, 4, 3])  # an image may come twice: both updates apply, in order
    output = method.step(toy_batch(indices, labels, CAMIDS), at_step(0))
    f = output.cache.features
    means = torch.stack([rows[labels == c].mean(0) for c in range(6)])
    energy = torch.exp(f @ means.t() / 0.05)
    share = energy[range(4), labels[indices]] / (energy.sum(1) + 1e-6)
    torch.testing.assert_close(output.losses["memory"], -torch.log(share + 1e-6).mean(), rtol=1e-4, atol=1e-4)
    method.after_step(output.cache, at_step(0))
    for row, index in zip(f, indices.tolist()):
        rows[index] = F.normalize(0.2 * rows[index] + 0.8 * row, dim=0)
    torch.testing.assert_close(method.memory.instances, rows)


def test_another_memory_needs_fresh_features() -> None:
    with pytest.raises(UserError, match=r"MEMORY\.NAME HybridMemory.*FRESH_FEATURES"):
        spcl("MEMORY.NAME", "ClusterMemory")
    assert spcl("MEMORY.NAME", "ClusterMemory", "METHOD.SPCL.FRESH_FEATURES", True).fresh_features
