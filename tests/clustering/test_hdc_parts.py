"""The parts of HDC against slow versions written from the formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.conftest import needs_cuda
from unreid.clustering import hdc
from unreid.clustering.hdc import farthest, harmonic
from unreid.clustering.hdc.distances import EulerCosine
from unreid.neighbors.torch_search import has_fast_bf16

SIMILARITIES = ("euler_cosine", "cosine", "euclidean")


def symmetric(n: int, seed: int, levels: int | None = None) -> Tensor:
    """A random distance matrix; ``levels`` makes many entries equal."""
    generator = torch.Generator().manual_seed(seed)
    half = torch.rand(n, n, generator=generator)
    if levels is not None:
        half = (half * levels).floor() / levels
    half = half.triu(1)
    return half + half.T


def unit(n: int, d: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(n, d, generator=generator), dim=1)


def slow_distance(x: np.ndarray, y: np.ndarray, similarity: str) -> np.ndarray:
    if similarity == "euler_cosine":
        e, f = (np.exp(1.9j * np.pi * part) / np.sqrt(2) for part in (x, y))
        return np.abs(((e[:, None] - f[None]) ** 2).sum(-1))
    if similarity == "cosine":
        length = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(y, axis=1)
        return 1 - x @ y.T / length
    return np.linalg.norm(x[:, None] - y[None], axis=-1)


def slow_harmonic(disc: Tensor, confidence: Tensor, labels: Tensor, num_clusters: int) -> Tensor:
    a, c = disc.numpy(), confidence.numpy()
    hd = np.ones((len(a), num_clusters), np.float32)
    for i in range(len(a)):
        for j in range(num_clusters):
            best = np.float32(-1)
            for k in np.flatnonzero(labels.numpy() == j):
                with np.errstate(invalid="ignore"):
                    term = np.nan_to_num(a[i, k] * c[k] / (a[i, k] + c[k]))
                if term > best:
                    best, hd[i, j] = term, a[i, k]
    return torch.from_numpy(hd)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_distances_follow_their_formula(similarity: str, scale: float) -> None:
    x, y = unit(37, 24, 1) * scale, unit(11, 24, 2) * scale
    slow = torch.from_numpy(slow_distance(x.double().numpy(), y.double().numpy(), similarity))
    raw = hdc.distance_matrix(x, y, similarity=similarity, normalize=False, block=8)
    torch.testing.assert_close(raw.double(), slow, atol=2e-5 * float(slow.max()), rtol=0)
    normalised = hdc.distance_matrix(x, y, similarity=similarity, block=100)
    expected = slow / (2 if similarity == "cosine" else slow.max())
    torch.testing.assert_close(normalised.double(), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("block", [1, 7, 64])
def test_distances_of_a_set_to_itself_are_symmetric_with_a_zero_diagonal(similarity: str, block: int) -> None:
    x = unit(23, 16, 3)
    own = hdc.distance_matrix(x, similarity=similarity, block=block)
    assert torch.equal(own, own.T)
    assert not own.diagonal().any()
    torch.testing.assert_close(own, hdc.distance_matrix(x, x, similarity=similarity), atol=2e-3, rtol=0)


def test_an_unknown_similarity_is_refused() -> None:
    with pytest.raises(ValueError, match="euler_cosine"):
        hdc.distance_matrix(unit(3, 4, 0), similarity="manhattan")


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_confidences_kept_up_to_date_equal_confidences_from_scratch(similarity: str) -> None:
    x, generator = unit(60, 32, 4), torch.Generator().manual_seed(5)
    centroids, labels = unit(6, 32, 6), torch.randint(6, (60,), generator=generator)
    kept = hdc.OwnConfidence(x, similarity=similarity, block=13)
    for step in range(5):
        full = torch.exp(-5 * hdc.distance_matrix(x, centroids, similarity=similarity))
        torch.testing.assert_close(kept(centroids, labels), full.gather(1, labels[:, None])[:, 0], atol=1e-5, rtol=0)
        centroids, labels = centroids.clone(), labels.clone()
        centroids[step] = unit(1, 32, 50 + step)[0]
        labels[:: 7 + step] = step


@pytest.mark.skipif(not has_fast_bf16(torch.device("cpu")), reason="this processor has no bfloat16 products")
def test_the_farthest_pair_found_through_bfloat16_is_that_of_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """While centroids move by less and less, as in a run."""
    measure = EulerCosine()
    samples, centroids = measure.encode(unit(300, 64, 1)), 0.5 * unit(40, 64, 2)
    rough, plain = farthest.Farthest(samples, measure, 128), farthest.Farthest(samples, measure, 128)
    products = []
    cross = EulerCosine.cross
    monkeypatch.setattr(EulerCosine, "cross", lambda self, a, b: products.append(a.matrix.dtype) or cross(self, a, b))
    changed = torch.ones(40, dtype=torch.bool)
    for step in range(5):
        table = measure.encode(centroids)
        monkeypatch.setattr(farthest, "_FEWEST", 1)
        found = rough(table, changed)
        monkeypatch.setattr(farthest, "_FEWEST", 2**40)
        torch.testing.assert_close(found, plain(table, changed), atol=0, rtol=1e-6)
        changed = torch.arange(40) % (step + 2) == 0
        centroids = centroids + changed[:, None] * 0.3**step * unit(40, 64, 60 + step)
    assert torch.bfloat16 in products


@given(
    n=st.integers(1, 40),
    num_clusters=st.integers(1, 9),
    block=st.sampled_from([1, 3, 16, 1000]),
    piece=st.sampled_from([1, 2, 5, 64]),
    levels=st.sampled_from([None, 3]),
    seed=st.integers(0, 10**6),
)
def test_harmonic_discrepancy_equals_the_triple_loop(
    n: int, num_clusters: int, block: int, piece: int, levels: int | None, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    disc = symmetric(n, seed, levels)
    confidence = torch.rand(n, generator=generator)
    if levels is not None:  # tied confidences, zeros among them
        confidence = (confidence * levels).floor() / levels
    labels = torch.randint(-1, num_clusters, (n,), generator=generator)
    longest, harmonic._LONGEST_PIECE = harmonic._LONGEST_PIECE, piece
    try:
        hd = hdc.harmonic_discrepancy(disc, confidence, labels, num_clusters, block=block)
    finally:
        harmonic._LONGEST_PIECE = longest
    assert torch.equal(hd, slow_harmonic(disc, confidence, labels, num_clusters))


def test_large_clusters_are_cut_into_pieces_without_changing_a_bit() -> None:
    n = 5 * harmonic._LONGEST_PIECE + 3
    disc = hdc.discrepancy_(symmetric(n, 7, levels=20))
    confidence = (torch.rand(n) * 10).floor() / 10
    labels = torch.zeros(n, dtype=torch.int64)
    labels[::17] = 1
    rows = disc[:5].clone()
    expected = slow_harmonic(disc, confidence, labels, 2)[:5]
    assert torch.equal(hdc.harmonic_discrepancy(disc, confidence, labels, 2)[:5], expected)
    assert torch.equal(disc[:5], rows)


def test_the_kept_pass_equals_a_fresh_one_after_any_change() -> None:
    generator = torch.Generator().manual_seed(8)
    disc, labels, confidence = symmetric(50, 9), torch.randint(6, (50,), generator=generator), torch.rand(50)
    kept = hdc.HarmonicPass(disc, 6)
    for step in range(6):
        hd = kept(confidence, labels)
        assert torch.equal(hd, hdc.harmonic_discrepancy(disc, confidence, labels, 6))
        labels, confidence = labels.clone(), confidence.clone()
        labels[step * 3] = (labels[step * 3] + 1) % 6
        if step % 2:
            confidence[step] = 0.5
        if step == 3:
            labels[labels == 2] = 4  # a cluster dies


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_overlapping_and_never_overlapping_distances(value: float) -> None:
    dist = torch.full((9, 9), value).fill_diagonal_(0)
    disc = hdc.discrepancy_(dist)
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])
    hd = hdc.harmonic_discrepancy(disc, torch.full((9,), 0.5), labels, 3)
    expected = 1 - torch.exp(torch.tensor(-value))
    torch.testing.assert_close(hd, expected.expand(9, 3))


def test_discrepancy_is_clipped_and_replaces_nan() -> None:
    dist = torch.tensor([[0.0, -1e-3, torch.nan], [1.0, torch.inf, 2.0], [0.5, 0.1, 0.0]])
    disc = hdc.discrepancy_(dist, block=2)
    assert disc is dist
    assert disc[0].tolist() == [0, 0, 1]
    torch.testing.assert_close(disc[1], torch.tensor([1 - np.exp(-1.0), 1, 1 - np.exp(-2.0)]).float())


def test_peripheral_members_exceed_mean_plus_sigma() -> None:
    generator = torch.Generator().manual_seed(10)
    labels, value = torch.randint(5, (70,), generator=generator), torch.rand(70, generator=generator)
    marked = hdc.detect_peripheral(labels, value, 6, n_sigma=0.8)
    for cluster in range(5):
        member = labels == cluster
        own = value[member].double().numpy()
        expected = own > own.mean() + 0.8 * own.std(ddof=1)
        assert torch.equal(marked[member] == -1, torch.from_numpy(expected))
    assert torch.equal(marked[marked >= 0], labels[marked >= 0])


def test_equal_members_are_never_peripheral() -> None:
    labels = torch.tensor([0] * 7 + [1] * 3)
    assert torch.equal(hdc.detect_peripheral(labels, torch.full((10,), 0.1), 2), labels)


@given(seed=st.integers(0, 10**6), threshold=st.sampled_from([None, 0.0, 0.3, 2.0]))
def test_no_cluster_loses_its_least_discrepant_member(seed: int, threshold: float | None) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(6, (25,), generator=generator)
    value = (torch.rand(25, generator=generator) * 5).ceil() / 5
    marked = hdc.detect_peripheral(labels, value, 6, n_sigma=0.0, threshold=threshold)
    for cluster in labels.unique().tolist():
        member = torch.nonzero(labels == cluster).squeeze(1)
        assert marked[member[value[member].argmin()]] == cluster


@given(seed=st.integers(0, 10**6), n=st.integers(2, 30), num_clusters=st.integers(2, 12))
def test_relocation_fills_every_cluster_however_small_they_are(seed: int, n: int, num_clusters: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    n = max(n, num_clusters)
    hd = torch.rand(n, num_clusters, generator=generator)
    before = torch.randint(num_clusters, (n,), generator=generator)
    membership, disc = torch.rand(n, generator=generator), hd.gather(1, before[:, None])[:, 0]
    kept = before.clone()
    labels, label_disc = hdc.relocate(before, membership, disc, hd)
    assert torch.equal(before, kept)
    assert int(torch.bincount(labels, minlength=num_clusters).min()) > 0
    assert torch.equal(label_disc, hd.gather(1, labels[:, None])[:, 0])


def test_relocation_ends_where_the_published_one_cycles() -> None:
    # Every cluster is small, hence protected: sample 0, first by index, would go to and fro between 0 and 3 for ever.
    before = torch.tensor([0, 1, 2, 2, 2, 2])
    membership = torch.tensor([0.1, 0.2, 0.9, 0.8, 0.7, 0.6])
    hd = torch.rand(6, 4)
    labels, _ = hdc.relocate(before, membership, torch.zeros(6), hd)
    assert torch.equal(labels.unique(), torch.arange(4))


def test_relocation_needs_enough_samples() -> None:
    with pytest.raises(ValueError, match="2 samples cannot fill 3"):
        hdc.relocate(torch.zeros(2, dtype=torch.int64), torch.rand(2), torch.rand(2), torch.rand(2, 3))


def test_centroids_of_untouched_clusters_are_copied() -> None:
    x, generator = unit(40, 8, 11), torch.Generator().manual_seed(12)
    labels = torch.randint(-1, 5, (40,), generator=generator)
    start = hdc.update_centroids(torch.zeros(5, 8), x, labels, None)
    torch.testing.assert_close(start, torch.stack([x[labels == j].mean(0) for j in range(5)]))
    changed = labels.clone()
    moved = int(torch.nonzero(labels == 3)[0])
    changed[moved] = -1
    after = hdc.update_centroids(start, x, changed, labels)
    assert torch.equal(after[:3], start[:3]) and torch.equal(after[4], start[4])
    torch.testing.assert_close(after[3], x[changed == 3].mean(0))
    assert hdc.update_centroids(start, x, labels, labels) is start
    normalised = hdc.update_centroids(start, x, labels, None, normalize=True)
    torch.testing.assert_close(normalised.norm(dim=1), torch.ones(5))


def slow_kmeanspp(dist: np.ndarray, first: int, uniforms: np.ndarray) -> list[int]:
    chosen, closest = [first], dist[first].astype(np.float64)
    for draws in uniforms:
        cumulative = np.cumsum(closest)
        proposals = [min(int(np.searchsorted(cumulative, u * cumulative[-1])), len(dist) - 1) for u in draws]
        totals = [np.minimum(dist[p], closest).sum() for p in proposals]
        best = proposals[int(np.argmin(totals))]
        chosen.append(best)
        closest = np.minimum(dist[best], closest)
    return chosen


@given(seed=st.integers(0, 10**6), n=st.integers(1, 40), num_clusters=st.integers(1, 8))
def test_kmeanspp_on_a_matrix_is_greedy_kmeanspp(seed: int, n: int, num_clusters: int) -> None:
    dist, rng = symmetric(n, seed), np.random.default_rng(seed)
    first, uniforms = hdc.draw_kmeanspp(n, num_clusters, rng)
    assert uniforms.shape == (num_clusters - 1, 2 + int(np.log(num_clusters)))
    chosen = hdc.kmeanspp_on_matrix(dist, first, uniforms)
    assert chosen.tolist() == slow_kmeanspp(dist.numpy(), first, uniforms)


@needs_cuda
def test_the_harmonic_pass_on_cuda_equals_the_one_on_cpu() -> None:
    disc = hdc.discrepancy_(symmetric(300, 13))
    labels, confidence = torch.randint(12, (300,)), torch.rand(300)
    on_cpu = hdc.harmonic_discrepancy(disc, confidence, labels, 12)
    on_cuda = hdc.harmonic_discrepancy(disc.cuda(), confidence.cuda(), labels.cuda(), 12, block=64)
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, atol=1e-5, rtol=0)
