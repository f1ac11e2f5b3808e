"""The whole of HDC against a slow version, its stopping rule, and the guards of degenerate input."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from unreid.clustering import hdc
from unreid.clustering.hdc.iteration import _StopRule
from unreid.utils.errors import UserError

from .test_hdc_parts import slow_distance, symmetric, unit


def blobs(per_cluster: Sequence[int], d: int, spread: float, seed: int) -> tuple[Tensor, Tensor]:
    """Unit features in groups, and their group."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.repeat_interleave(torch.arange(len(per_cluster)), torch.tensor(per_cluster))
    centre = torch.nn.functional.normalize(torch.randn(len(per_cluster), d, generator=generator), dim=1)
    noise = torch.randn(len(truth), d, generator=generator) * spread / math.sqrt(d)
    return torch.nn.functional.normalize(centre[truth] + noise, dim=1), truth


def slow_hdc(
    x: np.ndarray, dist: np.ndarray, labels: np.ndarray, centroids: np.ndarray, similarity: str, iterations: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Labels, labels without peripheral samples and centroids after every iteration, in float64 loops.

    Leaves relocation out: the test makes sure that no cluster runs empty.
    """
    a, num_clusters, history = 1 - np.exp(-dist), len(centroids), []
    for _ in range(iterations):
        d = slow_distance(x, centroids, similarity)
        d = d / (2 if similarity == "cosine" else d.max())
        c = np.exp(-5 * d)[np.arange(len(x)), labels]
        hd = np.empty((len(x), num_clusters))
        for j in range(num_clusters):
            members = np.flatnonzero(labels == j)
            term = a[:, members] * c[members] / (a[:, members] + c[members])
            hd[:, j] = a[np.arange(len(x)), members[term.argmax(1)]]
        labels = hd.argmin(1)
        own, core = hd[np.arange(len(x)), labels], labels.copy()
        centroids = np.empty_like(centroids)
        for j in range(num_clusters):
            members = np.flatnonzero(labels == j)
            assert len(members)
            if len(members) > 1:
                core[members[own[members] > own[members].mean() + own[members].std(ddof=1)]] = -1
            centroids[j] = x[core == j].mean(0)
        history.append((labels, core, centroids))
    return history


@pytest.mark.parametrize("similarity", ["euler_cosine", "cosine", "euclidean"])
def test_every_iteration_equals_the_slow_version(similarity: str) -> None:
    x, _ = blobs([9, 14, 6, 11, 20], 24, 0.9, seed=1)
    dist = hdc.distance_matrix(x, similarity="cosine") * 2
    labels, centroids = hdc.initial_state(x, dist, 5, rng=np.random.default_rng(4), similarity=similarity)
    options = hdc.HDCOptions(similarity=similarity, block=16)
    states = list(hdc.iterate(x, dist, labels, centroids, options))
    assert len(states) > 2
    slow = slow_hdc(
        x.double().numpy(),
        dist.double().numpy(),
        labels.numpy(),
        centroids.double().numpy(),
        similarity,
        len(states),
    )
    before = centroids.double()
    for state, (own, core, means) in zip(states, slow, strict=True):
        assert np.array_equal(state.labels.numpy(), own)
        assert np.array_equal(state.core_labels.numpy(), core)
        after = torch.from_numpy(means)
        torch.testing.assert_close(state.centroids.double(), after, atol=1e-6, rtol=0)
        assert math.isclose(state.shift, float((after - before).square().sum()), rel_tol=1e-3, abs_tol=1e-8)
        before = after


def test_blocks_do_not_change_the_result_and_the_input_survives() -> None:
    x, _ = blobs([12] * 6, 16, 1.2, seed=2)
    dist = hdc.distance_matrix(x, similarity="cosine")
    kept = dist.clone()
    labels, centroids = hdc.initial_state(x, dist, 6, rng=np.random.default_rng(0))
    states = [hdc.fit(x, dist, labels, centroids, hdc.HDCOptions(block=block)) for block in (5, 71, 1000)]
    assert torch.equal(dist, kept)
    for state in states[1:]:
        assert torch.equal(state.core_labels, states[0].core_labels)
    in_place = hdc.fit(x, dist, labels, centroids, overwrite_dist=True)
    assert torch.equal(in_place.labels, states[0].labels)
    torch.testing.assert_close(dist, 1 - torch.exp(-kept))


def test_well_separated_groups_are_found() -> None:
    x, truth = blobs([8, 10, 12, 9], 32, 0.2, seed=3)
    dist = hdc.distance_matrix(x, similarity="cosine")
    labels, centroids = hdc.initial_state(x, dist, 4, rng=np.random.default_rng(1))
    state = hdc.fit(x, dist, labels, centroids)
    pairs = state.labels[:, None] == state.labels
    assert torch.equal(pairs, truth[:, None] == truth)


@pytest.mark.parametrize("init", ["k-means++2", "k-means++", "random"])
def test_initial_states_are_seeded_and_lead_to_full_clusters(init: str) -> None:
    x, _ = blobs([7] * 8, 16, 0.8, seed=4)
    dist = hdc.distance_matrix(x, similarity="cosine")
    runs = [hdc.initial_state(x, dist, 8, init=init, rng=np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert torch.equal(runs[0][0], runs[1][0]) and torch.equal(runs[0][1], runs[1][1])
    assert not torch.equal(runs[0][1], runs[2][1])
    state = hdc.fit(x, dist, *runs[0])
    assert torch.equal(state.labels.unique(), torch.arange(8))
    assert torch.equal(state.core_labels.unique()[-8:], torch.arange(8))


def test_unknown_init_is_refused() -> None:
    with pytest.raises(ValueError, match="k-means"):
        hdc.initial_state(unit(5, 4, 0), symmetric(5, 0), 2, init="first", rng=np.random.default_rng(0))


@pytest.mark.parametrize("n, num_clusters", [(1, 1), (5, 5), (6, 5), (2, 1)])
def test_tiny_inputs(n: int, num_clusters: int) -> None:
    x, dist = unit(n, 4, 5), symmetric(n, 6)
    labels, centroids = hdc.initial_state(x, dist, num_clusters, rng=np.random.default_rng(0))
    state = hdc.fit(x, dist, labels, centroids)
    assert torch.equal(state.labels.unique(), torch.arange(num_clusters))
    assert bool(torch.isfinite(state.centroids).all())


def test_identical_features_keep_every_cluster_alive() -> None:
    x, dist = torch.ones(12, 4) / 2, torch.zeros(12, 12)
    labels, centroids = hdc.initial_state(x, dist, 4, rng=np.random.default_rng(0))
    state = hdc.fit(x, dist, labels, centroids)
    assert torch.equal(state.core_labels.unique()[-4:], torch.arange(4))
    assert bool(torch.isfinite(state.centroids).all())


def test_a_fixed_threshold_that_nobody_meets_keeps_one_member_each() -> None:
    x, _ = blobs([6] * 3, 8, 0.5, seed=7)
    dist = hdc.distance_matrix(x, similarity="cosine")
    labels, centroids = hdc.initial_state(x, dist, 3, rng=np.random.default_rng(2))
    state = hdc.fit(x, dist, labels, centroids, hdc.HDCOptions(threshold=1e-9))
    assert torch.equal(torch.bincount(state.core_labels[state.core_labels >= 0]), torch.ones(3, dtype=torch.int64))


def test_normalised_centroids() -> None:
    x, _ = blobs([10] * 4, 16, 1.0, seed=8)
    dist = hdc.distance_matrix(x, similarity="cosine")
    labels, centroids = hdc.initial_state(x, dist, 4, rng=np.random.default_rng(3))
    state = hdc.fit(x, dist, labels, centroids, hdc.HDCOptions(normalize_centroid=True))
    torch.testing.assert_close(state.centroids.norm(dim=1), torch.ones(4))


def test_more_clusters_than_samples_is_a_user_error() -> None:
    with pytest.raises(UserError, match="CLUSTER.NUM_CLUSTERS"):
        hdc.fit(unit(3, 4, 0), symmetric(3, 0), torch.zeros(3, dtype=torch.int64), unit(4, 4, 1))


def test_at_least_one_iteration() -> None:
    x, dist = unit(4, 4, 0), symmetric(4, 0)
    with pytest.raises(ValueError, match="max_iter"):
        hdc.fit(x, dist, torch.tensor([0, 0, 1, 1]), x[:2], hdc.HDCOptions(max_iter=0))


def test_the_stopping_rule() -> None:
    rule = _StopRule(min_iter=2, n_tol=1)
    # Before iteration 2 no shift counts; then 5 is the best, 6 is tolerated, 4 resets, 4 is tolerated, 4.5 stops.
    shifts = [1.0, 0.5, 5.0, 6.0, 4.0, 4.0, 4.5]
    assert [rule(i, shift) for i, shift in enumerate(shifts)] == [False] * 6 + [True]
    assert _StopRule(10, 4)(0, 0.0)
