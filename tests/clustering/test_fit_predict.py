"""Clusterers outside of a run: fit_predict as in scikit-learn, on numpy, torch and lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.cluster import DBSCAN as SklearnDBSCAN
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from unreid.clustering import (
    DBSCAN,
    HDC,
    AgreementDBSCAN,
    BottomUp,
    Clusterer,
    ConstrainedDBSCAN,
    KMeans,
    ScheduledClusterer,
    SelfPacedDBSCAN,
    SizeFilter,
    constrain,
)
from unreid.constraints import Links
from unreid.neighbors import jaccard_distance, jaccard_graph
from unreid.structures import PairGraph
from unreid.utils.errors import InputError, UserError

N = 60
OWNER = np.arange(N) // 12


def blobs(dtype: Any = np.float32) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 16))[OWNER] + 0.1 * rng.normal(size=(N, 16))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(dtype)


CLUSTERERS: dict[str, Callable[[], Clusterer]] = {
    "DBSCAN": lambda: DBSCAN(0.5, k1=10, k2=3),
    "DBSCAN, cosine": lambda: DBSCAN(0.2, metric="cosine"),
    "DBSCAN, adaptive": lambda: DBSCAN(adaptive=True, rho=0.15, k1=10, k2=3),
    "AgreementDBSCAN": lambda: AgreementDBSCAN(0.5, k1=10, k2=3),
    "SelfPacedDBSCAN": lambda: SelfPacedDBSCAN(0.5, metric="euclidean"),
    "ConstrainedDBSCAN": lambda: ConstrainedDBSCAN(0.5, links=[(0, 20)], k1=10, k2=3),
    "HDC": lambda: HDC(5, k1=10, k2=3, outlier=False),
    "KMeans": lambda: KMeans(5),
    "BottomUp": lambda: BottomUp(5),
    "SizeFilter": lambda: SizeFilter(DBSCAN(0.5, k1=10, k2=3), 5),
    "ScheduledClusterer": lambda: ScheduledClusterer([(0, DBSCAN(0.5, k1=10, k2=3)), (3, KMeans(5))]),
}


def same_partition(labels: np.ndarray, truth: np.ndarray) -> bool:
    pairs = {(a, b) for a, b in zip(labels.tolist(), truth.tolist())}
    return len(pairs) == len(set(labels.tolist())) == len(set(truth.tolist()))


@pytest.mark.parametrize("name", CLUSTERERS)
def test_groups_are_found_whatever_the_arrays_are(name: str) -> None:
    x = blobs()
    clusterer = CLUSTERERS[name]()
    labels = clusterer.fit_predict(x)
    assert isinstance(labels, np.ndarray) and labels.dtype == np.int64 and labels.shape == (N,)
    known = labels >= 0
    assert known.sum() > N / 2 and len(set(labels[known].tolist())) >= 5
    if name not in ("SelfPacedDBSCAN", "DBSCAN, adaptive"):  # these leave out, or set apart, what is at the rim
        assert same_partition(labels, OWNER)
    assert np.array_equal(labels, clusterer.labels_)
    cameras = [f"camera {i % 3}" for i in range(N)]
    for other in (torch.from_numpy(x), x.tolist(), x.astype(np.float64), list(torch.from_numpy(x))):
        assert np.array_equal(CLUSTERERS[name]().fit_predict(other, camids=cameras), labels)
    tensor = torch.from_numpy(x).requires_grad_()
    assert np.array_equal(CLUSTERERS[name]().fit_predict(tensor), labels)
    assert np.array_equal(clusterer.fit_predict(x), labels)


@pytest.mark.parametrize("name", CLUSTERERS)
def test_a_fit_remembers_nothing_of_the_one_before(name: str) -> None:
    other = np.random.default_rng(1).normal(size=(30, 16))
    clusterer = CLUSTERERS[name]()
    fresh = CLUSTERERS[name]().fit_predict(blobs())
    clusterer.fit(other)
    assert np.array_equal(clusterer.fit_predict(blobs()), fresh)


def test_a_scikit_learn_pipeline_ends_in_a_clusterer() -> None:
    pipeline = make_pipeline(Normalizer(), DBSCAN(0.5, k1=10, k2=3))
    labels = pipeline.fit_predict(3.0 * blobs())
    assert same_partition(labels, OWNER)


def test_parameters_of_the_graph_are_the_clusterer_s_own() -> None:
    x = blobs() + 0.2 * np.random.default_rng(2).normal(size=(N, 16)).astype(np.float32)
    for k1, k2 in ((6, 1), (20, 4)):
        graph = jaccard_graph(x, k1=k1, k2=k2, radius=0.6)
        expected = DBSCAN(0.6).cluster(torch.from_numpy(x), graph).labels.numpy()
        assert np.array_equal(DBSCAN(0.6, k1=k1, k2=k2).fit_predict(x), expected)


def test_cannot_links_hold_in_a_fit() -> None:
    pairs = np.array([(0, 1), (2, 11), (13, 20)])
    for clusterer in (
        ConstrainedDBSCAN(0.5, links=pairs, k1=10, k2=3),
        constrain(AgreementDBSCAN(0.5, k1=10, k2=3), Links.symmetric(pairs, N)),
        constrain(KMeans(5), Links.symmetric(pairs, N)),
    ):
        labels = clusterer.fit_predict(blobs())
        assert all(labels[a] != labels[b] or labels[a] < 0 for a, b in pairs)


BAD: dict[str, tuple[Any, str]] = {
    "a vector": (np.zeros(5), r"X must be numbers of shape \(N, D\), not float64 \(5,\)"),
    "a volume": (np.zeros((2, 3, 4)), r"not float64 \(2, 3, 4\)"),
    "no rows": (np.zeros((0, 4)), r"N and D at least 1"),
    "no columns": (np.zeros((4, 0)), r"N and D at least 1"),
    "nothing": ([], r"\(N, D\), not float32 \(0,\)"),
    "NaN": ([[1.0, float("nan")], [0.0, 1.0]], r"finite, but NaN"),
    "infinity": (torch.tensor([[1.0, torch.inf]]), r"finite, but NaN"),
    "objects": (np.array([[1, "a"]], dtype=object), r"numbers.*object \(1, 2\)"),
    "strings": ([["a", "b"]], r"numbers of shape \(N, D\), not list"),
    "complex numbers": (np.zeros((2, 2), complex), r"complex128"),
    "truth values": (torch.zeros(2, 2, dtype=torch.bool), r"not bool \(2, 2\)"),
    "ragged rows": ([[1.0, 2.0], [1.0]], r"rows of several lengths"),
    "ragged tensors": ([torch.zeros(2), torch.zeros(3)], r"tensors of several shapes"),
    "a sparse tensor": (torch.eye(3).to_sparse(), r"sparse tensor: call its to_dense"),
    "None": (None, r"numbers of shape \(N, D\), not NoneType"),
    "a path": ("features.npy", r"numbers of shape \(N, D\), not str"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused_is_one_sentence(name: str) -> None:
    value, message = BAD[name]
    for clusterer in (DBSCAN(), KMeans(2)):
        with pytest.raises(InputError, match=message) as raised:
            clusterer.fit_predict(value)
        assert str(raised.value).startswith("X must be") and "\n" not in str(raised.value)


def test_cameras_that_do_not_fit_and_sparse_matrices_are_named() -> None:
    with pytest.raises(InputError, match=r"camids must be integers or strings of shape \(60,\), not \(3,\)"):
        DBSCAN().fit_predict(blobs(), camids=[1, 2, 3])
    matrix = jaccard_graph(blobs(), k1=10, k2=3).to_scipy()
    with pytest.raises(InputError, match="not a sparse csr_array: call its toarray"):
        DBSCAN().fit_predict(matrix)
    with pytest.raises(InputError, match="positions from 0 to 59"):
        ConstrainedDBSCAN(links=[(0, 60)]).fit_predict(blobs())


def test_one_sample_and_more_clusters_than_samples() -> None:
    assert DBSCAN().fit_predict([[1.0, 0.0]]).tolist() == [-1]
    assert BottomUp(1).fit_predict([[1.0, 0.0]]).tolist() == [0]
    for clusterer in (KMeans(3), HDC(3), BottomUp(3)):
        with pytest.raises(UserError, match="of 2 samples"):
            clusterer.fit_predict([[1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="num_clusters >= 1"):
        BottomUp(0)


# ---------------------------------------------------------------------------------------------- graphs and scipy


def test_the_scipy_matrix_is_what_scikit_learn_reads() -> None:
    x = np.repeat(blobs(), 2, axis=0) + 0.05 * np.random.default_rng(3).normal(size=(2 * N, 16))
    x[1] = x[0]  # a pair at distance 0 must not get lost
    graph = jaccard_graph(x, k1=10, k2=3, radius=0.7)
    matrix = graph.to_scipy()
    assert matrix.shape == (2 * N, 2 * N) and matrix.dtype == np.float32
    assert matrix.nnz == 2 * len(graph) + 2 * N
    dense = graph.to_dense(fill=0.0).numpy()
    assert np.array_equal(matrix.toarray(), dense) and np.array_equal(dense, dense.T)
    for eps in (0.3, 0.5):
        expected = SklearnDBSCAN(eps=eps, min_samples=4, metric="precomputed").fit_predict(matrix)
        assert np.array_equal(DBSCAN(eps, tol=0.0, k1=10, k2=3).cluster(torch.empty(0), graph).labels, expected)
    again = PairGraph.from_scipy(matrix, radius=0.7)
    for name in ("i", "j", "dist", "self_dist"):
        assert torch.equal(getattr(again, name), getattr(graph, name)), name
    assert (again.n, again.radius) == (graph.n, graph.radius)


def test_only_symmetric_sparse_matrices_are_graphs() -> None:
    matrix = jaccard_graph(blobs(), k1=10, k2=3).to_scipy().tolil()
    matrix[0, 1] = 0.9
    for bad, message in ((matrix, "not symmetric"), (np.eye(3), "sparse matrix"), (matrix[:3], "sparse matrix")):
        with pytest.raises(InputError, match=message):
            PairGraph.from_scipy(bad)


def test_the_dense_distance_is_that_of_the_graph() -> None:
    x = blobs()
    dense = jaccard_distance(x.tolist(), k1=10, k2=3)
    assert dense.shape == (N, N) and torch.equal(dense, dense.T) and float(dense.min()) >= 0 and float(dense.max()) <= 1
    graph = jaccard_graph(x, k1=10, k2=3, radius=0.5)
    assert torch.equal(dense[graph.i, graph.j], graph.dist)
    assert int((dense.triu(1) + torch.ones(N, N).tril() <= 0.5 + 1e-6).sum()) == len(graph)
