"""HDC on the pairs of a graph gives what it gives on the whole matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from unreid.clustering import hdc
from unreid.clustering.hdc import clusterer
from unreid.clustering.hdc.sparse import SparseDistances, SparseHarmonicPass
from unreid.neighbors import jaccard_graph
from unreid.neighbors.jaccard import MAX_RADIUS
from unreid.structures import PairGraph


def sample(n: int = 400, members: int = 16) -> tuple[torch.Tensor, PairGraph]:
    centres = torch.randn(n // members, 32)
    x = normalize(centres.repeat_interleave(members, 0) + 0.9 * torch.randn(n, 32), dim=1)
    return x, jaccard_graph(x, k1=20, k2=4, radius=MAX_RADIUS)


def test_rows_and_columns_are_those_of_the_matrix() -> None:
    _, graph = sample()
    dense, sparse = graph.to_dense(), SparseDistances(graph)
    picked = torch.tensor([3, 399, 0, 3])
    assert len(sparse) == 400 and torch.equal(sparse[7], dense[7])
    assert torch.equal(sparse[picked], dense[picked])
    assert torch.equal(sparse.index_select(1, picked), dense.index_select(1, picked))


@pytest.mark.parametrize("clusters", [1, 3, 25, 390, 450])  # of hundreds, which are more ranks than bits, to empty ones
def test_the_pass_equals_the_dense_one(clusters: int) -> None:
    _, graph = sample()
    dense = hdc.discrepancy_(graph.to_dense())
    harmonic = SparseHarmonicPass(SparseDistances(graph), clusters)
    for _ in range(3):
        labels, confidence = torch.randint(clusters, (400,)), torch.rand(400)
        assert torch.equal(harmonic(confidence, labels), hdc.harmonic_discrepancy(dense, confidence, labels, clusters))


def test_a_row_that_lists_all_the_first_ranks() -> None:
    """One cluster of which a row lists every member but the least confident one."""
    n = 200
    i, j = torch.triu_indices(n, n, 1)
    keep = ~((i == 0) & (j == n - 1))
    graph = PairGraph(n, i[keep], j[keep], torch.rand(int(keep.sum())) * 0.02, 0.98, torch.zeros(n))
    confidence = torch.linspace(1, 0.5, n)
    labels = torch.zeros(n, dtype=torch.int64)
    found = SparseHarmonicPass(SparseDistances(graph), 1)(confidence, labels)
    assert torch.equal(found, hdc.harmonic_discrepancy(hdc.discrepancy_(graph.to_dense()), confidence, labels, 1))
    assert found[0] == hdc.discrepancy_(torch.ones(1))


def test_the_clusterer_gives_the_same_above_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    x, graph = sample()
    made = hdc.HDC(25)
    before = made.cluster(x, graph, seed=1)
    monkeypatch.setattr(clusterer, "DENSE_UP_TO", 10)
    monkeypatch.setattr(clusterer, "SPARSE_SHARE", 1.0)
    monkeypatch.setattr(PairGraph, "to_dense", lambda graph: pytest.fail("the matrix was made"))
    after = made.cluster(x, graph, seed=1)
    assert torch.equal(before.labels, after.labels) and before.extras == after.extras
    np.testing.assert_array_equal(before.centroids, after.centroids)
