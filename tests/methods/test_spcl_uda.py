"""SpCL with a labelled source: what is in its memory, and one step by the published arithmetic."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.methods.toys import DIM, at_step, toy_batch, toy_clustering, toy_method
from unreid.methods.spcl_uda import SpCLUDA
from unreid.structures import Batch, Clustering
from unreid.utils.errors import UserError

N, S, CLASSES = 24, 15, 5
CAMIDS = torch.arange(N) % 3
IDENTITIES = torch.arange(S) % CLASSES
FEATURES = F.normalize(torch.randn(S, DIM, generator=torch.Generator().manual_seed(7)), dim=1)


def uda(*overrides: Any) -> SpCLUDA:
    parts = ("MEMORY.NAME", "HybridMemory", "MEMORY.MOMENTUM", 0.2, "CLUSTER.NAME", "SelfPacedDBSCAN")
    small = ("CLUSTER.K1", 6, "CLUSTER.K2", 2, "CLUSTER.MIN_SAMPLES", 2, "DATASETS.SOURCES", ["Market1501"])
    method = toy_method("METHOD.NAME", "SpCL_UDA", *parts, *small, *overrides, camids=CAMIDS)
    assert isinstance(method, SpCLUDA)
    method.take_source(IDENTITIES, lambda feature: FEATURES)
    return method


def joint_batch(indices: Tensor, source: Tensor, labels: Tensor) -> Batch:
    target = toy_batch(indices, labels, CAMIDS)
    return replace(target, source=toy_batch(source, IDENTITIES, torch.zeros(S, dtype=torch.int64), seed=3))


def test_rows_are_class_means_of_the_source_and_images_of_the_target() -> None:
    method = uda()
    clustering = toy_clustering(torch.arange(N) % 6)
    clustering.labels[:2] = -1
    method.plan(clustering, 0)
    means = torch.stack([FEATURES[c == IDENTITIES].mean(0) for c in range(CLASSES)])
    torch.testing.assert_close(method.memory.instances[:CLASSES], F.normalize(means, dim=1))
    torch.testing.assert_close(method.memory.instances[CLASSES:], clustering.features)
    assert method.memory.num_clusters == CLASSES + 6 + 2, "identities, clusters, and images on their own"


def test_a_step_is_the_published_loss_of_either_side_and_moves_the_rows_of_both() -> None:
    labels = torch.arange(N) % 6
    method = uda()
    method.plan(toy_clustering(labels), 0)
    rows = method.memory.instances.clone()
    classes = torch.cat((torch.arange(CLASSES), CLASSES + labels))
    indices, source = torch.tensor([3, 9, 4, 3]), torch.tensor([0, 5, 2, 14])
    batch = joint_batch(indices, source, labels)
    output = method.step(batch, at_step(0))
    features = torch.cat([part.features for part in output.cache])
    means = torch.stack([rows[classes == c].mean(0) for c in range(CLASSES + 6)])
    energy = torch.exp(features @ means.t() / 0.05)
    wanted = torch.cat((IDENTITIES[source], CLASSES + labels[indices]))
    losses = -torch.log(energy[range(8), wanted] / (energy.sum(1) + 1e-6) + 1e-6)
    torch.testing.assert_close(output.losses["source"], losses[:4].mean(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(output.losses["target"], losses[4:].mean(), rtol=1e-4, atol=1e-4)
    method.after_step(output.cache, at_step(0))
    for feature, row in zip(features, torch.cat((IDENTITIES[source], CLASSES + indices)).tolist()):
        rows[row] = F.normalize(0.2 * rows[row] + 0.8 * feature, dim=0)
    torch.testing.assert_close(method.memory.instances, rows)


def test_later_rounds_cluster_the_rows_of_the_target_and_keep_those_of_the_source() -> None:
    method = uda()
    labels = torch.arange(N) % 6
    method.plan(toy_clustering(labels), 0)
    output = method.step(joint_batch(torch.arange(0, N, 6), torch.arange(4), labels), at_step(0))
    method.after_step(output.cache, at_step(0))
    before = method.memory.instances.clone()
    seen: list[Tensor] = []

    def cluster(features: Tensor, round: int) -> Clustering:
        seen.append(features)
        return Clustering(torch.arange(N) % 4, 4, features=features)

    method.cluster = cluster  # type: ignore[method-assign]
    method.plan(method.label(1, lambda feature: pytest.fail("nothing is extracted again")), 1)
    torch.testing.assert_close(seen[0], before[CLASSES:])
    torch.testing.assert_close(method.memory.instances, before)
    assert method.memory.num_clusters == CLASSES + 4


def test_a_restored_method_goes_on_with_the_same_memory() -> None:
    method, resumed = uda(), uda()
    labels = torch.arange(N) % 6
    plan = method.plan(toy_clustering(labels), 0)
    resumed.load_state_dict(method.state_dict())
    resumed.check_plan(plan)
    batch = joint_batch(torch.arange(4), torch.arange(4), labels)
    first, second = (each.step(batch, at_step(0)).losses for each in (method, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(UserError, match=r"DATASETS\.SOURCES"):
        uda("DATASETS.SOURCES", [])
    with pytest.raises(UserError, match="HybridMemory"):
        uda("MEMORY.NAME", "ClusterMemory", "METHOD.SPCL.FRESH_FEATURES", True)
    with pytest.raises(UserError, match=r"EMA\.ENABLED"):
        uda("MODEL.EMA.ENABLED", True)
    plain = toy_method(camids=CAMIDS)
    with pytest.raises(UserError, match=r"SOURCES.*SpCL_UDA"):
        plain.take_source(IDENTITIES, lambda feature: FEATURES)
