"""BUC's lookup table."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given

from unreid.config import get_cfg
from unreid.memory import ExclusiveTable, build_memory
from unreid.structures import Clustering

from .batches import clustering_of, random_batch, seeds, sizes, unit


def test_a_round_starts_at_zero_with_loss_ln_c() -> None:
    table = ExclusiveTable(4)
    for clusters in (9, 5):
        table.reset(None, clustering_of(torch.arange(20) % clusters))
        assert table.bank.shape == (clusters, 4) and not table.bank.any()
        loss = table(torch.randn(6, 4), torch.arange(6) % clusters)
        assert loss.item() == pytest.approx(math.log(clusters))


def test_the_table_may_be_narrower_than_the_clustered_features() -> None:
    table = ExclusiveTable(4)
    table.reset(unit(20, 16), clustering_of(torch.arange(20) % 5))
    assert table.bank.shape == (5, 4)


@given(seeds, sizes)
def test_updates_compound_in_batch_order_without_normalising_the_inputs(seed: int, size: int) -> None:
    batch = random_batch(seed, size, clusters=5, dim=6)
    x = F.dropout(batch["x"], 0.5)
    table = ExclusiveTable(6)
    table.reset(None, clustering_of(torch.arange(5)))
    expected = torch.zeros(5, 6, dtype=torch.float64)
    for _ in range(2):
        table.update(x, batch["y"])
        for sample, label in zip(x.double(), batch["y"].tolist()):
            expected[label] = F.normalize((expected[label] + sample) / 2, dim=0)
    torch.testing.assert_close(table.bank.double(), expected, rtol=0, atol=1e-6)


def test_logits_see_the_dropped_out_feature_as_it_is() -> None:
    table = ExclusiveTable(2, temp=0.5)
    table.bank = torch.eye(2)
    loss = table(torch.tensor([[3.0, 0.0]]), torch.tensor([1]))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(6.0)))


def test_cluster_means_use_the_labels_given() -> None:
    table = ExclusiveTable(6, init="cluster_mean")
    x, labels = unit(12, 6), torch.arange(12) % 3
    table.reset(x, clustering_of(labels))
    for cluster in range(3):
        torch.testing.assert_close(table.bank[cluster], F.normalize(x[labels == cluster].mean(0), dim=0))
    with pytest.raises(ValueError, match="needs features"):
        table.reset(None, clustering_of(labels))


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="init must be"):
        ExclusiveTable(4, init="ones")
    with pytest.raises(ValueError, match="without clusters"):
        ExclusiveTable(4).reset(None, Clustering(torch.tensor([-1]), 0))


def test_builds_from_the_config() -> None:
    cfg = get_cfg()
    cfg.MEMORY.NAME, cfg.METHOD.BUC.TEMP, cfg.METHOD.BUC.MEMORY_INIT = "ExclusiveTable", 0.2, "cluster_mean"
    table = build_memory(cfg, 6)
    assert isinstance(table, ExclusiveTable) and (table.temp, table.init) == (0.2, "cluster_mean")
    assert not table.normalize_inputs and table.momentum == 0.5
