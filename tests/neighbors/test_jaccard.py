"""The sparse Jaccard graph against the dense definition, back-end against back-end, and every degenerate input."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from unreid.neighbors import jaccard_graph, knn, minsum_scipy, minsum_torch, support
from unreid.neighbors.jaccard import MAX_RADIUS
from unreid.structures import PairGraph
from unreid.utils.errors import UserError

from .dense import dense_jaccard

BACKENDS = ["scipy", "torch"]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


def world(n: int, dim: int = 16, seed: int = 0, ids: int = 8, noise: float = 0.6) -> Tensor:
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(ids, dim))
    return normalize(torch.from_numpy(centers[rng.integers(0, ids, n)] + noise * rng.normal(size=(n, dim))).float())


def assert_equals_dense(graph: PairGraph, expected: np.ndarray, radius: float, tol: float = 1e-6) -> None:
    """Same pairs but for entries within rounding of the limit, same distances, sorted, no pair twice."""
    i, j, d = graph.i.cpu().numpy(), graph.j.cpu().numpy(), graph.dist.cpu().numpy()
    assert (i < j).all()
    assert (np.diff(i * graph.n + j) > 0).all()
    np.testing.assert_allclose(d, expected[i, j], atol=2e-6)
    listed = np.zeros_like(expected, dtype=bool)
    listed[i, j] = True
    clear = np.abs(expected - (radius + tol)) > 2e-6
    wanted = np.triu(expected <= radius + tol, 1)
    assert (listed == wanted)[clear & np.triu(np.ones_like(listed), 1)].all()
    np.testing.assert_allclose(graph.self_dist.cpu().numpy(), np.diag(expected), atol=2e-6)


@pytest.mark.parametrize("includes_self", [True, False])
@pytest.mark.parametrize("k1, k2", [(12, 4), (15, 6), (9, 1), (30, 6), (7, 3)])
def test_graph_equals_the_dense_definition(backend: str, k1: int, k2: int, includes_self: bool) -> None:
    x = world(120)
    expected = dense_jaccard(x, k1, k2, includes_self)
    for radius in (0.3, 0.6, 0.95, MAX_RADIUS):
        graph = jaccard_graph(x, k1=k1, k2=k2, k1_includes_self=includes_self, radius=radius, backend=backend)
        assert_equals_dense(graph, expected, radius)


@given(
    n=st.integers(3, 70),
    k1=st.integers(1, 24),
    k2=st.integers(1, 8),
    includes_self=st.booleans(),
    levels=st.integers(1, 4),
    seed=st.integers(0, 10**6),
    name=st.sampled_from(["scipy", "torch"]),
)
def test_random_graphs_with_ties_equal_the_dense_definition(
    n: int, k1: int, k2: int, includes_self: bool, levels: int, seed: int, name: str
) -> None:
    assume(k2 <= (k1 if includes_self else k1 + 1))
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.integers(0, levels + 1, (n, 4)).astype(np.float32)) / 2
    expected = dense_jaccard(x, k1, k2, includes_self)
    graph = jaccard_graph(x, k1=k1, k2=k2, k1_includes_self=includes_self, radius=0.7, backend=name)
    assert_equals_dense(graph, expected, 0.7)


def test_rows_of_any_norm_need_no_normalisation(backend: str) -> None:
    x = 4 * world(90)
    assert_equals_dense(jaccard_graph(x, k1=10, k2=3, radius=0.8, backend=backend), dense_jaccard(x, 10, 3), 0.8)
    unit = jaccard_graph(x, k1=10, k2=3, radius=0.8, backend=backend, normalize=True)
    assert_equals_dense(unit, dense_jaccard(normalize(x), 10, 3), 0.8)


def test_backends_agree_on_pairs_and_bits_of_distance() -> None:
    x = world(700, ids=40)
    graphs = [jaccard_graph(x, radius=0.6, backend=name) for name in ("scipy", "torch")]
    assert torch.equal(graphs[0].i, graphs[1].i) and torch.equal(graphs[0].j, graphs[1].j)
    assert (graphs[0].dist - graphs[1].dist).abs().max() <= 2e-6


@pytest.mark.parametrize("cells", [100, 700])  # less than a row, and two rows
def test_block_sizes_do_not_change_a_bit(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = world(300)
    usual = {name: jaccard_graph(x, k1=12, radius=0.7, backend=name) for name in ("scipy", "torch")}
    monkeypatch.setattr(minsum_scipy, "_TRIPLES", 50)
    monkeypatch.setattr(minsum_torch, "_TRIPLES", {"cpu": 50})
    monkeypatch.setattr(minsum_torch, "_CELLS", {"cpu": cells})
    monkeypatch.setattr(support, "_ROWS", {"cpu": 7})
    monkeypatch.setattr(support, "_COMPARED", {"cpu": 1})
    for name, graph in usual.items():
        small = jaccard_graph(x, k1=12, radius=0.7, backend=name)
        assert torch.equal(small.i, graph.i) and torch.equal(small.j, graph.j)
        assert torch.equal(small.dist, graph.dist) and torch.equal(small.self_dist, graph.self_dist)


def test_filtering_a_wide_graph_equals_building_a_narrow_one(backend: str) -> None:
    x = world(200)
    wide = jaccard_graph(x, k1=12, radius=0.8, backend=backend)
    narrow = jaccard_graph(x, k1=12, radius=0.5, backend=backend)
    cut = wide.within(0.5, 1e-6)
    assert torch.equal(cut.i, narrow.i) and torch.equal(cut.j, narrow.j) and torch.equal(cut.dist, narrow.dist)


def test_given_neighbors_replace_the_search(backend: str) -> None:
    x = world(150)
    distance, index = knn(x, 20)
    given_lists = jaccard_graph(x, k1=12, radius=0.6, neighbors=(distance, index), backend=backend)
    searched = jaccard_graph(x, k1=12, radius=0.6, backend=backend)
    assert torch.equal(given_lists.i, searched.i) and torch.equal(given_lists.dist, searched.dist)
    with pytest.raises(ValueError, match="neighbors"):
        jaccard_graph(x, k1=30, radius=0.6, neighbors=(distance, index))
    index[3, 4] = -1
    with pytest.raises(ValueError, match="-1"):
        jaccard_graph(x, k1=12, radius=0.6, neighbors=(distance, index))


def test_fewer_samples_than_neighbours(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    x = world(6)
    with caplog.at_level(logging.WARNING):
        graph = jaccard_graph(x, k1=30, k2=6, radius=0.9, backend=backend)
    assert "30" in caplog.text
    assert_equals_dense(graph, dense_jaccard(x, 30, 6), 0.9)


def test_one_sample_has_no_pairs(backend: str) -> None:
    graph = jaccard_graph(torch.ones(1, 4), radius=0.6, backend=backend)
    assert len(graph) == 0 and graph.n == 1 and graph.self_dist.tolist() == [0.0]


def test_all_rows_identical(backend: str) -> None:
    x = torch.ones(40, 8)
    graph = jaccard_graph(x, k1=10, k2=3, radius=0.9, backend=backend)
    assert_equals_dense(graph, dense_jaccard(x, 10, 3), 0.9)


def test_fifty_exact_duplicates_and_one_far_outlier(backend: str) -> None:
    x = world(150)
    x[60:110] = x[60]
    x[149] = 100.0
    graph = jaccard_graph(x, k1=12, k2=4, radius=0.9, backend=backend)
    assert_equals_dense(graph, dense_jaccard(x, 12, 4), 0.9)


def test_pairs_at_distance_zero_are_listed(backend: str) -> None:
    x = torch.eye(30).repeat_interleave(4, 0)
    graph = jaccard_graph(x, k1=4, k2=1, radius=0.5, backend=backend)
    assert len(graph) == 30 * 6
    assert (graph.dist <= 1e-6).all() and (graph.dist == 0).any()


def test_two_groups_that_never_meet(backend: str) -> None:
    x = torch.cat([world(40, ids=1), world(40, ids=1, seed=1) + 50])
    graph = jaccard_graph(x, k1=10, k2=4, radius=MAX_RADIUS, backend=backend)
    assert ((graph.i < 40) == (graph.j < 40)).all()
    assert_equals_dense(graph, dense_jaccard(x, 10, 4), MAX_RADIUS)


def test_a_hub_that_everybody_lists(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minsum_scipy, "_TRIPLES", 64)  # one row exceeds the budget
    monkeypatch.setattr(minsum_torch, "_TRIPLES", {"cpu": 64})
    x = torch.cat([torch.zeros(1, 60), 3 * torch.eye(60)])
    graph = jaccard_graph(x, k1=5, k2=3, radius=0.95, backend=backend)
    assert_equals_dense(graph, dense_jaccard(x, 5, 3), 0.95)


def test_a_sample_missing_from_its_own_list_has_an_empty_support(backend: str) -> None:
    """The lists of faiss can lack the row itself; a row that nobody returns to then has no weights at all."""
    x = world(40)
    distance, index = knn(x, 8)
    index[5] = torch.tensor([20, 21, 22, 23, 24, 25, 26, 27])
    index[index == 5] = 6
    index[6] = torch.tensor([6, 7, 8, 9, 10, 11, 12, 13])
    for row in range(40):  # keep the entries of a list distinct
        entries = list(dict.fromkeys(index[row].tolist()))
        spare = (v for v in range(28, 40) if v not in entries)
        index[row] = torch.tensor(entries + [next(spare) for _ in range(8 - len(entries))])
    distance = (x[:, None] - x[index]).square().sum(-1)
    for k2 in (1, 3):
        expected = dense_jaccard(x, 8, k2, lists=index.numpy())
        graph = jaccard_graph(x, k1=8, k2=k2, radius=0.9, neighbors=(distance, index), backend=backend)
        assert not graph.dist.isnan().any()
        assert_equals_dense(graph, expected, 0.9)
        assert (graph.self_dist[5] == 1) == (k2 == 1)


def test_structural_ties_are_inside_the_tolerance(backend: str) -> None:
    """Rows that share s of k2 expansion rows and nothing else are at 1 - s / (2 k2 - s): 0.5 for s = 4, k2 = 6."""
    x = world(400, ids=30, noise=0.9)
    graph = jaccard_graph(x, k1=20, k2=6, radius=0.5, backend=backend)
    expected = dense_jaccard(x, 20, 6)
    assert len(graph) == int(np.triu(expected <= 0.5 + 1e-6, 1).sum())


def test_a_pair_just_beyond_the_radius_is_kept_by_the_tolerance_alone(backend: str) -> None:
    whole = jaccard_graph(world(100), k1=12, k2=4, backend=backend)
    for at in range(0, len(whole), len(whole) // 5):
        radius = float(whole.dist[at]) - 5e-7
        with_it, without = (
            jaccard_graph(world(100), k1=12, k2=4, radius=radius, tol=tol, backend=backend) for tol in (1e-6, 0.0)
        )
        assert len(with_it) > len(without) and (without.dist <= radius).all()
        assert (whole.i[at].item(), whole.j[at].item()) in set(zip(with_it.i.tolist(), with_it.j.tolist()))


def test_wrong_settings_are_refused() -> None:
    x = world(20)
    for radius in (1.0, 0.0, 1.5):
        with pytest.raises(UserError, match="between 0 and 1"):
            jaccard_graph(x, radius=radius)
    with pytest.raises(UserError, match="scipy"):
        jaccard_graph(x, backend="cupy")
    with pytest.raises(UserError, match="K2"):
        jaccard_graph(x, k1=5, k2=6)
    with pytest.raises(UserError, match="at least 1"):
        jaccard_graph(x, k1=0)


def test_nothing_needs_faiss_before_it_is_asked_for() -> None:
    import subprocess
    import sys

    code = "import sys, unreid.neighbors; print([m for m in ('faiss', 'sklearn', 'scipy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
