"""Radius graphs of plain metrics and the builder that configs use."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unreid.config import get_cfg, load_config
from unreid.neighbors import PairGraphBuilder, jaccard_graph, metric, metric_graph
from unreid.utils.errors import UserError


@given(
    n=st.integers(1, 60),
    levels=st.integers(1, 5),
    radius=st.sampled_from([0.5, 1.0, 2.0]),
    seed=st.integers(0, 10**6),
)
def test_euclidean_pairs_equal_the_dense_matrix(n: int, levels: int, radius: float, seed: int) -> None:
    """Whole coordinates: many distances equal the radius."""
    x = torch.from_numpy(np.random.default_rng(seed).integers(0, levels + 1, (n, 3))).float()
    graph = metric_graph(x, metric="euclidean", radius=radius)
    dense = (x[:, None] - x[None]).square().sum(-1).sqrt()
    i, j = (dense <= radius).triu(1).nonzero(as_tuple=True)
    assert torch.equal(graph.i, i) and torch.equal(graph.j, j)
    torch.testing.assert_close(graph.dist, dense[i, j], rtol=1e-6, atol=1e-6)
    assert graph.radius == radius and (graph.self_dist == 0).all()


def test_cosine_distance_ignores_norms() -> None:
    x = torch.randn(80, 5)
    graph = metric_graph(x * torch.rand(80, 1) * 9, metric="cosine", radius=0.3)
    dense = 1 - torch.nn.functional.cosine_similarity(x[:, None], x[None], dim=-1)
    i, j = (dense <= 0.3).triu(1).nonzero(as_tuple=True)
    assert torch.equal(graph.i, i) and torch.equal(graph.j, j)
    torch.testing.assert_close(graph.dist, dense[i, j], rtol=0, atol=2e-6)


def test_blocks_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(120, 6)
    whole = metric_graph(x, metric="euclidean", radius=2.0)
    monkeypatch.setattr(metric, "_SCORE_BYTES", {"cpu": 7 * 4 * 120})
    parts = metric_graph(x, metric="euclidean", radius=2.0)
    assert torch.equal(whole.i, parts.i) and torch.equal(whole.j, parts.j) and torch.equal(whole.dist, parts.dist)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(UserError, match="cosine"):
        metric_graph(torch.ones(3, 2), metric="manhattan", radius=1.0)
    with pytest.raises(UserError, match="positive"):
        metric_graph(torch.ones(3, 2), metric="euclidean", radius=0.0)


@pytest.mark.parametrize("name", ["jaccard", "euclidean", "cosine"])
def test_the_builder_reads_the_config(name: str) -> None:
    cfg = get_cfg()
    cfg.CLUSTER.METRIC, cfg.CLUSTER.K1, cfg.CLUSTER.K2, cfg.CLUSTER.K1_INCLUDES_SELF = name, 8, 3, False
    x = torch.randn(60, 6)
    graph = PairGraphBuilder.from_config(cfg)(x, 0.5)
    if name == "jaccard":
        expected = jaccard_graph(x, k1=8, k2=3, k1_includes_self=False, radius=0.5)
    else:
        expected = metric_graph(x, metric=name, radius=0.5)
    assert torch.equal(graph.i, expected.i) and torch.equal(graph.dist, expected.dist)


def test_a_builder_has_the_numbers_of_its_config() -> None:
    numbers = {"K1": 11, "K2": 7, "K1_INCLUDES_SELF": False}
    cameras = {"K1_INTRA": 5, "K1_INTER": 21, "K2_INTRA": 3, "K2_INTER": 8, "CKRNN": False, "CLQE": False}
    words = [(f"CLUSTER.{name}", value) for name, value in numbers.items()]
    words += [(f"CLUSTER.CA.{name}", value) for name, value in cameras.items()]
    builder = PairGraphBuilder.from_config(load_config(None, [str(word) for pair in words for word in pair]))
    assert {name: getattr(builder, name.lower()) for name in numbers} == numbers
    assert {name: getattr(builder.cameras, name.lower()) for name in cameras} == cameras
