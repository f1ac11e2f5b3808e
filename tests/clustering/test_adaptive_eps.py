"""AuxUSL's adaptive eps: from the graph as from all N (N - 1) / 2 distances."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from unreid.clustering import DBSCAN
from unreid.clustering.adaptive_eps import adaptive_eps
from unreid.neighbors import jaccard_graph
from unreid.structures import PairGraph
from unreid.utils.errors import UserError

from .test_dbscan import graph_of


def by_sorting(matrix: torch.Tensor, rho: float, zero_tol: float) -> float:
    upper = matrix[np.triu_indices(len(matrix), 1)].double().numpy()
    counted = np.sort(upper[upper > zero_tol])
    return counted[: round(rho * len(counted))].mean()


@given(
    n=st.integers(5, 50),
    levels=st.integers(2, 40),
    rho=st.floats(0.2, 0.9),
    zero_tol=st.sampled_from([0.0, 1e-6, 0.1]),
    seed=st.integers(0, 10**6),
)
def test_it_is_the_mean_of_the_smallest_of_all_pairs(
    n: int, levels: int, rho: float, zero_tol: float, seed: int
) -> None:
    """Distances of 1 are not stored, zeros do not count."""
    rng = np.random.default_rng(seed)
    matrix = torch.from_numpy(rng.integers(0, levels + 1, (n, n)) / levels).float().triu(1)
    matrix = matrix + matrix.T
    if round(rho * int((matrix[np.triu_indices(n, 1)] > zero_tol).sum())) < 1:
        return
    found = adaptive_eps(graph_of(matrix), rho=rho, zero_tol=zero_tol)
    assert found == pytest.approx(by_sorting(matrix, rho, zero_tol), rel=1e-6)


def test_too_few_stored_pairs_count_as_distance_one_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    graph = PairGraph(4, torch.tensor([0]), torch.tensor([1]), torch.tensor([0.5]), 0.999, torch.zeros(4))
    with caplog.at_level(logging.WARNING):
        assert adaptive_eps(graph, rho=0.5) == pytest.approx((0.5 + 1 + 1) / 3)
    assert "RHO" in caplog.text


def test_raised_distances_beyond_one_are_not_guessed() -> None:
    pairs = torch.tensor([0, 0]), torch.tensor([1, 2]), torch.tensor([0.5, 1.3])
    graph = PairGraph(4, *pairs, 0.999, torch.zeros(4))
    assert adaptive_eps(graph, rho=0.2) == 0.5
    with pytest.raises(UserError, match="SCP or STS"):
        adaptive_eps(graph, rho=0.5)


def test_an_empty_selection_is_an_error_that_names_rho() -> None:
    graph = PairGraph(4, torch.tensor([0]), torch.tensor([1]), torch.tensor([0.5]), 0.999, torch.zeros(4))
    with pytest.raises(UserError, match="RHO 0.0016 of 6"):
        adaptive_eps(graph)


def test_eps_is_fixed_in_the_first_round_and_survives_a_resume() -> None:
    rng = np.random.default_rng(0)
    x = normalize(torch.from_numpy(rng.normal(size=(30, 16))[rng.integers(0, 30, 300)]).float(), dim=1)
    noisy = [normalize(x + s * torch.from_numpy(rng.normal(size=x.shape)).float(), dim=1) for s in (0.2, 0.3)]
    clusterer = DBSCAN(adaptive=True, rho=0.02)
    assert clusterer.radius > 0.99
    first = clusterer.cluster(noisy[0], jaccard_graph(noisy[0], k1=12, k2=4, radius=clusterer.radius))
    eps = first.eps
    assert 0 < eps < 1 and clusterer.radius == eps
    graph = jaccard_graph(noisy[1], k1=12, k2=4, radius=clusterer.radius)
    second = clusterer.cluster(noisy[1], graph)
    resumed = DBSCAN(adaptive=True, rho=0.02)
    resumed.load_state_dict(clusterer.state_dict())
    again = resumed.cluster(noisy[1], graph)
    assert second.eps == again.eps == eps
    assert torch.equal(second.labels, again.labels)
