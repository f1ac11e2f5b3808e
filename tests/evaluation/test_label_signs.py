"""Signs that labels mislead, on labels small enough to count and against simulations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from unreid.evaluation.label_signs import (
    CameraSigns,
    camera_signs,
    falls,
    neighbor_distances,
    reach,
    separates_cameras,
)
from unreid.neighbors import jaccard_graph
from unreid.utils.errors import InputError


def test_clusters_are_counted_by_their_cameras() -> None:
    """Clusters: 0 of one camera, 1 of two, 2 of a single sample; two outliers."""
    labels = [0, 0, 1, 1, 1, 2, -1, -1]
    signs = camera_signs(labels, ["a", "a", "a", "b", "b", "a", "b", "b"])
    assert (signs.clusters, signs.covered, signs.single) == (2, 5 / 8, 0.5)
    assert signs.chance == pytest.approx((2 * 0.5**2 + 2 * 0.5**3) / 2)
    # Pairs across: none of one, two of three; weighted by size, over the half that chance gives.
    assert signs.crossing == pytest.approx((0 * 2 + 2 / 3 * 3) / 5 / 0.5)


def test_chance_counts_every_cluster_of_a_size() -> None:
    """Three clusters of two and one of four: cameras of the same size."""
    signs = camera_signs([0, 0, 1, 1, 2, 2, 3, 3, 3, 3], [0, 1] * 5)
    assert signs.chance == pytest.approx((3 * 2 * 0.5**2 + 2 * 0.5**4) / 4)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.7, 0.2, 0.1)])
def test_labels_without_regard_to_cameras_are_chance(shares: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    cameras = rng.choice(len(shares), 6000, p=shares)
    signs = camera_signs(rng.permutation(np.arange(6000) // 4), cameras)
    assert signs.crossing == pytest.approx(1, abs=0.03)
    assert signs.single == pytest.approx(signs.chance, abs=0.02)
    assert not separates_cameras(signs)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 5), st.integers(0, 3)), min_size=1, max_size=40))
def test_shares_are_shares_and_names_do_not_matter(samples: list[tuple[int, int]]) -> None:
    labels, cameras = (np.array(column) for column in zip(*samples))
    signs = camera_signs(labels, cameras)
    assert all(0 <= share <= 1 + 1e-9 for share in (signs.covered, signs.single, signs.chance)) and signs.crossing >= 0
    renamed = camera_signs(np.where(labels < 0, -1, 7 - labels), 9 - 2 * cameras)
    assert vars(renamed) == pytest.approx(vars(signs))


def test_nothing_to_see_without_clusters_or_with_one_camera() -> None:
    assert camera_signs([-1, -1, 0], [0, 1, 0]) == CameraSigns(0, 0.0, 0.0, 0.0, 0.0)
    alone = camera_signs([0] * 40 + [1] * 40, [3] * 80)
    assert (alone.single, alone.chance, alone.crossing) == (1.0, 1.0, 0.0) and not separates_cameras(alone)
    with pytest.raises(InputError, match="3 labels for 2 cameras"):
        camera_signs([0, 1, 2], [0, 1])


def of_one_camera(clusters: int, size: int = 5, mixed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(clusters), size)
    cameras = labels % 2
    inside = labels < mixed
    cameras[inside] = np.arange(inside.sum()) % 2
    return labels, cameras


def test_clusters_of_one_camera_each_are_a_sign() -> None:
    assert separates_cameras(camera_signs(*of_one_camera(100)))
    assert separates_cameras(camera_signs(*of_one_camera(100, mixed=20)))
    assert not separates_cameras(camera_signs(*of_one_camera(100, mixed=30)))
    assert not separates_cameras(camera_signs(*of_one_camera(20)))  # too few to tell
    assert not separates_cameras(camera_signs(*of_one_camera(100, size=2)))  # of two, half are of one camera by chance
    labels, cameras = of_one_camera(100)
    few = np.concatenate((labels, np.full(600, -1))), np.concatenate((cameras, np.arange(600) % 2))
    assert not separates_cameras(camera_signs(*few))  # most samples are outliers, which is said elsewhere


def test_a_fall_is_long_and_deep() -> None:
    assert falls([0.0, 0.5, 0.4, 0.35, 0.3])
    assert not falls([0.0, 0.5, 0.49, 0.48, 0.47])  # not deep
    assert not falls([0.0, 0.5, 0.3, 0.29])  # not long
    assert not falls([0.0, 0.5, 0.3, 0.31, 0.25])  # not in a row
    assert not falls([]) and not falls([0.4])


def test_neighbour_distances_are_those_of_the_dense_matrix() -> None:
    features = normalize(torch.randn(80, 6, generator=torch.Generator().manual_seed(0)), dim=1)
    graph = jaccard_graph(features, k1=8, k2=3, radius=0.8)
    dense = graph.to_dense()
    dense.fill_diagonal_(-1)
    for neighbor in (2, 4, 30):
        expected = dense.sort(dim=1).values[:, neighbor - 1]
        torch.testing.assert_close(neighbor_distances(graph, neighbor), expected)
    assert torch.equal(neighbor_distances(graph, 1), graph.self_dist)
    found = reach(graph, 0.5, 4)
    fourth = neighbor_distances(graph, 4)
    assert found.within == pytest.approx(float((fourth <= 0.5).double().mean()))
    assert found.quartiles[0] <= found.quartiles[1] <= found.quartiles[2]
    assert float((fourth <= found.quartiles[1]).double().mean()) >= 0.5
