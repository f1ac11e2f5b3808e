from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.methods.toys import DIM, at_step, toy_batch, toy_clustering, toy_method
from unreid.clustering import DBSCAN, HDC, KMeans, SizeFilter
from unreid.methods import Method
from unreid.methods.ccc import CameraEntropy

N = 48
LABELS = torch.arange(N) % 4
CAMIDS = torch.tensor([0, 0, 1, 2, 0, 1, 1, 2] * 6)
BATCH = torch.tensor([0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14])


def ccc(*overrides: Any) -> Method:
    small = ("CLUSTER.K1", 8, "CLUSTER.K2", 2, "CLUSTER.MIN_SAMPLES", 2, "CLUSTER.NUM_CLUSTERS", 6)
    return toy_method("METHOD.NAME", "CCC", "MEMORY.UPDATE", "chd", *small, *overrides, camids=CAMIDS)


def slow_weights(targets: Tensor, camids: Tensor) -> Tensor:
    """``P exp(H_y) / sum exp(H)`` with base-2 entropies, cluster by cluster."""
    entropy = {}
    for label in targets.unique().tolist():
        cameras = Counter(camids[targets == label].tolist())
        total = sum(cameras.values())
        entropy[label] = -sum(n / total * math.log2(n / total) for n in cameras.values())
    norm = sum(math.exp(h) for h in entropy.values())
    return torch.tensor([len(entropy) * math.exp(entropy[label]) / norm for label in targets.tolist()])


@pytest.mark.parametrize("cie", [True, False])
def test_camera_entropy_weighs_the_samples_of_the_loss(cie: bool) -> None:
    method = ccc("METHOD.CCC.CIE", cie)
    method.plan(toy_clustering(LABELS), 0)
    bank, batch = method.memory.bank.clone(), toy_batch(BATCH, LABELS, CAMIDS)
    output = method.step(batch, at_step(0))
    losses = F.cross_entropy(output.cache.features @ bank.t() / 0.05, batch.targets, reduction="none")
    weights = slow_weights(batch.targets, batch.camids)
    assert len(weights.unique()) > 1
    torch.testing.assert_close(output.losses["memory"], ((weights if cie else 1.0) * losses).mean())


def test_cie_is_taken_once_even_if_it_is_asked_for_twice() -> None:
    assert sum(isinstance(p, CameraEntropy) for p in ccc("METHOD.EXTRAS", "['camera_entropy', 'cie']").parts) == 1


def test_the_chd_update_takes_one_sample_of_each_cluster() -> None:
    method = ccc("MEMORY.MOMENTUM", 0.1)
    method.plan(toy_clustering(LABELS), 0)
    bank = method.memory.bank.clone()
    output = method.step(toy_batch(BATCH, LABELS, CAMIDS), at_step(0))
    f, targets, camids = output.cache.features, output.cache.targets, output.cache.camids
    for label in targets.unique().tolist():
        values = {}
        for camera in camids[targets == label].unique().tolist():
            group = torch.nonzero((targets == label) & (camids == camera)).flatten().tolist()
            centre = F.normalize(f[group].mean(0), dim=0)
            for i in group:
                far, near = float(1 - f[i] @ bank[label]), float(1 + f[i] @ centre)
                values[i] = far * near / (far + near)
        best = max(values, key=lambda i: values[i])
        bank[label] = F.normalize(0.1 * bank[label] + 0.9 * f[best], dim=0)
    method.after_step(output.cache, at_step(0))
    torch.testing.assert_close(method.memory.bank, bank)


@pytest.mark.parametrize(("name", "kind"), [("HDC", HDC), ("KMeans", KMeans)])
def test_dbscan_warms_up_and_the_counts_of_the_memory_follow(name: str, kind: type) -> None:
    switch = ("CLUSTER.NAME", name, "CLUSTER.MIN_SIZE", 3, "CLUSTER.WARMUP.NAME", "DBSCAN", "CLUSTER.WARMUP.ROUNDS", 2)
    method = ccc(*switch)
    assert [isinstance(method.clusterer.at(r), DBSCAN) for r in range(4)] == [True, True, False, False]
    main = method.clusterer.at(2)
    assert isinstance(main, SizeFilter) and isinstance(main.clusterer, kind)

    generator = torch.Generator().manual_seed(1)
    centres = torch.randn(9, DIM, generator=generator)
    features = F.normalize(centres[torch.arange(N) % 9] + 0.2 * torch.randn(N, DIM, generator=generator), dim=1)
    counts = []
    for round in range(4):
        clustering = method.label(round, lambda feature: features)
        method.plan(clustering, round)
        counts.append(clustering.num_clusters)
        assert len(method.memory.bank) == method.memory.num_clusters == clustering.num_clusters
        if clustering.centroids is None:
            rows = torch.stack([features[clustering.labels == c].mean(0) for c in range(clustering.num_clusters)])
        else:
            rows = clustering.centroids
        torch.testing.assert_close(method.memory.bank, F.normalize(rows, dim=1))
    assert counts[1] != counts[2] <= 6, counts


def test_hdc_centroids_fill_the_memory_or_plain_means_do() -> None:
    generator = torch.Generator().manual_seed(1)
    features = F.normalize(torch.randn(N, DIM, generator=generator), dim=1)
    banks = []
    for use in (True, False):
        method = ccc("CLUSTER.NAME", "HDC", "CLUSTER.HDC.USE_CENTROIDS", use, "CLUSTER.HDC.OUTLIER", False)
        clustering = method.label(0, lambda feature: features)
        assert (clustering.centroids is not None) == use
        method.plan(clustering, 0)
        banks.append(method.memory.bank)
    assert not torch.allclose(banks[0], banks[1])  # centroids leave peripheral samples out, means do not
