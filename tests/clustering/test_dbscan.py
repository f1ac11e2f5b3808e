"""DBSCAN on pair graphs against scikit-learn on dense matrices, numbering and border points included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from unreid.clustering import DBSCAN, dbscan
from unreid.clustering.dbscan import _lowest_of_component, lowest_by_propagation
from unreid.config import get_cfg
from unreid.neighbors import jaccard_graph, metric_graph
from unreid.structures import PairGraph


def graph_of(matrix: Tensor, radius: float = 0.999) -> PairGraph:
    i, j = torch.triu_indices(len(matrix), len(matrix), 1)
    near = matrix[i, j] <= radius
    return PairGraph(len(matrix), i[near], j[near], matrix[i, j][near], radius, matrix.diagonal().clone())


def sklearn_labels(matrix: Tensor, eps: float, min_samples: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.cluster import DBSCAN as Dense

    found = Dense(eps=eps, min_samples=min_samples, metric="precomputed").fit(matrix.numpy())
    core = np.zeros(len(matrix), dtype=bool)
    core[found.core_sample_indices_] = True
    return found.labels_, core


def points(n: int, dim: int, seed: int, ids: int = 6, noise: float = 0.5) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(ids, dim))[rng.integers(0, ids, n)] + noise * rng.normal(size=(n, dim)))


@given(
    n=st.integers(1, 60),
    min_samples=st.integers(1, 6),
    eps=st.sampled_from([0.1, 0.25, 0.5, 0.75]),
    levels=st.integers(1, 12),
    seed=st.integers(0, 10**6),
)
def test_labels_and_core_points_equal_scikit_learn(
    n: int, min_samples: int, eps: float, levels: int, seed: int
) -> None:
    """Coarse random distances: many border points between clusters and many distances at eps exactly."""
    rng = np.random.default_rng(seed)
    matrix = torch.from_numpy(rng.integers(0, levels + 1, (n, n)) / levels).float()
    matrix = torch.minimum(matrix, matrix.T)
    matrix.fill_diagonal_(0)
    labels, core = dbscan(graph_of(matrix), eps, min_samples, tol=0.0)
    expected, expected_core = sklearn_labels(matrix, eps, min_samples)
    np.testing.assert_array_equal(labels.numpy(), expected)
    np.testing.assert_array_equal(core.numpy(), expected_core)


@pytest.mark.parametrize("eps", [0.3, 0.4, 0.48, 0.5, 0.52, 0.6, 0.7])
def test_jaccard_labels_equal_scikit_learn_at_eps_plus_tolerance(eps: float) -> None:
    x = normalize(points(500, 24, 0, ids=40, noise=0.7).float(), dim=1)
    graph = jaccard_graph(x, k1=20, k2=6, radius=0.75)
    labels, core = dbscan(graph, eps)
    expected, expected_core = sklearn_labels(graph.to_dense(), eps + 1e-6, 4)
    np.testing.assert_array_equal(labels.numpy(), expected)
    np.testing.assert_array_equal(core.numpy(), expected_core)


@pytest.mark.parametrize("metric, eps", [("euclidean", 1.2), ("cosine", 0.2)])
def test_plain_metrics_equal_scikit_learn_on_the_features(metric: str, eps: float) -> None:
    from sklearn.cluster import DBSCAN as Dense

    x = points(300, 6, 1)
    labels, _ = dbscan(metric_graph(x, metric=metric, radius=eps), eps)
    np.testing.assert_array_equal(labels.numpy(), Dense(eps=eps, min_samples=4, metric=metric).fit_predict(x.numpy()))


def test_a_border_point_joins_the_cluster_with_the_lowest_core_point() -> None:
    line = torch.tensor([10.0, 10.1, 10.2, 0.0, 0.1, 0.2, 5.1])[:, None]  # the last one touches both ends
    matrix = (line - line.T).abs() / 10
    labels, core = dbscan(graph_of(matrix), 0.5, 4, tol=0.0)
    np.testing.assert_array_equal(labels.numpy(), sklearn_labels(matrix, 0.5, 4)[0])
    assert labels[6] == 0 and core[6]


@pytest.mark.parametrize("first", [0.0, 10.0])
def test_a_border_point_between_two_clusters_belongs_to_the_first_of_them(first: float) -> None:
    ends = [[0.0, 0.1, 0.2, 0.3], [10.0, 10.1, 10.2, 10.3]]
    line = torch.tensor([*ends[first > 0], *ends[first == 0], 5.15])[:, None]  # one point of each end is within 4.9
    matrix = (line - line.T).abs() / 10
    labels, core = dbscan(graph_of(matrix), 0.49, 4, tol=0.0)
    assert labels.tolist() == [0] * 4 + [1] * 4 + [0] and not core[8]
    np.testing.assert_array_equal(labels.numpy(), sklearn_labels(matrix, 0.49, 4)[0])


def test_a_sample_that_is_far_from_itself_does_not_count_itself() -> None:
    """A row without any weight (see ``neighbors``) has self distance 1: the dense algorithm does not count it."""
    matrix = torch.tensor([[0.0, 0.1, 0.1], [0.1, 0.0, 0.1], [0.1, 0.1, 1.0]])
    for min_samples in (1, 2, 3):
        labels, core = dbscan(graph_of(matrix), 0.5, min_samples)
        expected, expected_core = sklearn_labels(matrix, 0.5, min_samples)
        np.testing.assert_array_equal(labels.numpy(), expected)
        np.testing.assert_array_equal(core.numpy(), expected_core)


def test_the_tolerance_decides_structural_ties() -> None:
    matrix = torch.full((4, 4), 0.5 + 6e-8).fill_diagonal_(0)
    assert dbscan(graph_of(matrix), 0.5)[0].tolist() == [0, 0, 0, 0]
    assert dbscan(graph_of(matrix), 0.5, tol=0.0)[0].tolist() == [-1, -1, -1, -1]


def test_no_pairs_and_no_samples() -> None:
    nothing = torch.empty(0, dtype=torch.int64)
    alone = PairGraph(3, nothing, nothing, torch.empty(0), 0.6, torch.zeros(3))
    assert dbscan(alone, 0.5)[0].tolist() == [-1, -1, -1]
    assert dbscan(alone, 0.5, min_samples=1)[0].tolist() == [0, 1, 2]
    empty = PairGraph(0, nothing, nothing, torch.empty(0), 0.6, torch.empty(0))
    assert dbscan(empty, 0.5)[0].shape == (0,)
    clustering = DBSCAN(0.5).cluster(torch.empty(3, 2), alone)
    assert clustering.num_clusters == 0 and clustering.num_outliers == 3


def test_a_graph_that_does_not_reach_eps_is_refused() -> None:
    graph = graph_of(torch.rand(5, 5).fill_diagonal_(0), radius=0.4)
    with pytest.raises(ValueError, match="0.4"):
        dbscan(graph, 0.5)


@given(n=st.integers(1, 80), edges=st.integers(0, 120), seed=st.integers(0, 10**6), path=st.booleans())
def test_label_propagation_finds_the_components_of_scipy(n: int, edges: int, seed: int, path: bool) -> None:
    """What CUDA runs; paths in random order need the most passes."""
    rng = np.random.default_rng(seed)
    i, j = torch.from_numpy(rng.integers(0, n, (2, edges)))
    if path:
        order = torch.from_numpy(rng.permutation(n))
        i, j = order[:-1], order[1:]
    assert torch.equal(lowest_by_propagation(i, j, n), _lowest_of_component(i, j, n))


def test_the_config_builds_it_and_the_result_names_eps_and_core_points() -> None:
    cfg = get_cfg()
    cfg.CLUSTER.EPS, cfg.CLUSTER.MIN_SAMPLES = 0.45, 3
    clusterer = DBSCAN.from_config(cfg)
    assert clusterer.radius == 0.45
    x = normalize(points(200, 16, 2).float(), dim=1)
    graph = jaccard_graph(x, k1=12, k2=4, radius=0.45)
    clustering = clusterer.cluster(x, graph)
    labels, core = dbscan(graph, 0.45, 3)
    assert torch.equal(clustering.labels, labels) and torch.equal(clustering.core, core)
    assert clustering.eps == 0.45 and clustering.num_clusters == int(labels.max()) + 1
