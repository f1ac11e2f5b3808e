"""What is kept of the clusters while they change is what would be found anew."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from unreid.review.geometry import SUGGESTED, Geometry


@pytest.mark.parametrize("seed", range(3))
def test_neighbours_follow_merges_and_moves(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(160, 3)).astype(np.float32)  # few dimensions: everybody has many neighbours
    labels, cameras = rng.integers(0, 50, 160), rng.integers(0, 4, 160)
    kept = tmp_path / "near.npz"
    geometry = Geometry(features, labels, cameras, kept=kept)
    assert max(len(geometry.neighbours(identity)) for identity in geometry.members) == SUGGESTED
    for _ in range(40):
        one, other = rng.choice(list(geometry.members), 2, replace=False).tolist()
        crops = np.flatnonzero(labels == one)
        if rng.random() < 0.4:
            crops = crops[: max(1, len(crops) // 2)]
        labels[crops] = other
        geometry.update({one, other}, crops)
        anew = Geometry(features, labels, cameras, kept=kept)
        assert geometry.members.keys() == anew.members.keys()
        for identity in anew.members:
            assert dict(geometry.neighbours(identity)) == pytest.approx(dict(anew.neighbours(identity))), identity


def example(seed: int = 0, n: int = 90, clusters: int = 6) -> tuple[Geometry, np.ndarray, np.ndarray]:
    """Overlapping clusters of different size in three cameras, some crops in none: a geometry, labels, cameras."""
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.integers(-1, clusters, n))
    cameras = rng.integers(0, 3, n)
    features = rng.normal(size=(clusters + 1, 8))[labels] + 0.9 * rng.normal(size=(n, 8))
    return Geometry(features.astype(np.float32), labels, cameras), labels, cameras


def near(geometry: Geometry) -> list[list[int]]:
    """The twenty nearest others of every row."""
    similar = geometry.rows @ geometry.rows.T
    np.fill_diagonal(similar, -np.inf)
    return np.argsort(-similar, axis=1, kind="stable")[:, :20].tolist()


@pytest.mark.parametrize("known", [True, False])
def test_two_clusters_may_be_one_by_the_edges_between_them_and_their_cameras(known: bool) -> None:
    geometry, labels, cameras = example()
    if not known:
        geometry = Geometry(geometry.rows, labels)
    lists = near(geometry)
    for one, crops in geometry.members.items():
        expected = {}
        for other, others in geometry.members.items():
            edges = sum(labels[neighbour] == other for crop in crops for neighbour in lists[crop])
            edges += sum(labels[neighbour] == one for crop in others for neighbour in lists[crop])
            smaller = min(len(crops), len(others))
            a, b = set(cameras[crops]), set(cameras[others])
            apart = (1.1 - len(a & b) / min(len(a), len(b))) / 1.1 if known else 1.0
            expected[other] = min(1.0, edges / (20 * smaller)) * apart
        del expected[one]
        assert dict(geometry.neighbours(one)) == pytest.approx({k: v for k, v in expected.items() if v > 0})
        values = [value for _, value in geometry.neighbours(one)]
        assert values == sorted(values, reverse=True) and geometry.part_doubt(one) == max(values, default=0.0)


def test_a_crop_may_belong_where_more_of_its_neighbours_are() -> None:
    geometry, labels, _ = example()
    lists = near(geometry)
    doubtful = 0
    for one, crops in geometry.members.items():
        doubts, better = geometry.misfits(one)
        for crop, doubt, other in zip(crops, doubts, better):
            found = [int(labels[neighbour]) for neighbour in lists[crop]]
            shares = {label: found.count(label) / 20 for label in geometry.members if label != one}
            own = found.count(one) / min(max(len(crops) - 1, 1), 20)
            expected = max(0.0, max(shares.values()) - own)
            assert doubt == pytest.approx(expected, abs=1e-6)
            assert other == -1 if doubt == 0 else shares[int(other)] == max(shares.values())
            doubtful += expected > 0
    assert doubtful > 3
    unassigned = np.flatnonzero(labels < 0)
    most = [max(sum(labels[j] == label for j in lists[crop]) / 20 for label in geometry.members) for crop in unassigned]
    np.testing.assert_allclose(geometry.closeness(unassigned), most, atol=1e-6)


def test_a_judged_crop_is_no_stranger_and_judged_clusters_are_no_parts() -> None:
    plain, labels, cameras = example()
    one = max(plain.members, key=lambda identity: plain.misfits(identity)[0].max())
    doubts, _ = plain.misfits(one)
    stranger = int(plain.members[one][doubts.argmax()])
    other, _ = plain.neighbours(one)[0]
    lead = plain.medoid(plain.members[other])
    judged = {stranger: [lead], lead: [stranger]}
    geometry = Geometry(plain.rows, labels, cameras, judged)
    found, better = geometry.misfits(one)
    assert found[doubts.argmax()] == 0 and better[doubts.argmax()] == -1
    expected = np.where(plain.members[one] == stranger, 0, doubts)
    np.testing.assert_allclose(found, expected)
    assert other not in dict(geometry.neighbours(one)) and one not in dict(geometry.neighbours(other))
    assert dict(geometry.neighbours(one)) == pytest.approx({k: v for k, v in plain.neighbours(one) if k != other})


def two_bodies(size: int = 12, views: str = "same") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A cluster 0 of two bodies, seen by the same cameras or by different ones, and narrow clusters 1 to 4."""
    rng = np.random.default_rng(3)
    centres = 4 * rng.normal(size=(6, 16))
    labels = np.repeat([0, 0, 1, 2, 3, 4], [size // 3, size - size // 3, 8, 8, 8, 8])
    bodies = np.repeat(np.arange(6), [size // 3, size - size // 3, 8, 8, 8, 8])
    features = (centres[bodies] + 0.3 * rng.normal(size=(len(bodies), 16))).astype(np.float32)
    cameras = np.arange(len(labels)) % 2 if views == "same" else (bodies == 1).astype(int)
    return features, labels, cameras


def test_a_cluster_of_two_bodies_is_told_by_its_width_and_its_views() -> None:
    doubt = {}
    for views in ("same", "other"):
        features, labels, cameras = two_bodies(views=views)
        geometry = Geometry(features, labels, cameras)
        smaller = geometry.halves(0) < 0
        assert smaller.tolist() == [True] * 4 + [False] * 8, "the smaller body"
        rows = geometry.rows
        widths = {
            one: float(np.linalg.norm(rows[labels == one] - rows[labels == one].mean(0), axis=1).sum())
            for one in range(5)
        }
        average, size = sum(widths.values()) / 44, 44 / 5
        wide = (widths[0] + 2 * average) / 14 / average * math.log(12) / math.log(size)
        shared = 1.0 if views == "same" else 0.0
        assert geometry.split_doubt(0) == pytest.approx(np.clip(wide * (shared + 0.2) / 1.2 - 0.35, 0, 1), abs=1e-5)
        doubt[views] = geometry.split_doubt(0)
        assert geometry.doubt(0) >= doubt[views]
    assert doubt["same"] > doubt["other"] and doubt["same"] > 0.5


@pytest.mark.parametrize(("pair", "settled"), [((0, 11), True), ((5, 11), False), ((0, 1), False), ((0, 14), False)])
def test_halves_that_a_person_compared_are_settled(pair: tuple[int, int], settled: bool) -> None:
    features, labels, cameras = two_bodies()
    a, b = pair
    geometry = Geometry(features, labels, cameras, {a: [b], b: [a]})
    assert (geometry.split_doubt(0) == 0) == settled


def test_three_crops_have_no_halves_to_doubt() -> None:
    features, labels, cameras = two_bodies(size=3)
    assert Geometry(features, labels, cameras).split_doubt(0) == 0
    features, labels, cameras = two_bodies(size=4)
    assert Geometry(features, labels, cameras).split_doubt(0) > 0


def test_confidence_compares_the_own_mean_without_oneself_with_the_next() -> None:
    geometry, labels, _ = example()
    for one, crops in geometry.members.items():
        found = geometry.confidence(one)
        for crop, value in zip(crops, found):
            row = geometry.rows[crop]
            means = {other: geometry.rows[labels == other].mean(0) for other in geometry.members}
            own = np.linalg.norm(row - means[one]) * len(crops) / (len(crops) - 1)
            theirs = min(np.linalg.norm(row - mean) for other, mean in means.items() if other != one)
            assert value == pytest.approx(max(0.0, 1 - own / theirs), abs=1e-5)
        assert 0 < found.max() < 1
    alone = Geometry(np.eye(3, dtype=np.float32), np.array([0, 1, 1]))
    assert alone.confidence(0).tolist() == [0]


def test_the_medoid_is_the_member_nearest_to_the_mean() -> None:
    geometry, _, _ = example()
    for crops in geometry.members.values():
        rows = geometry.rows[crops]
        mean = rows.mean(axis=0)
        assert geometry.medoid(crops) == crops[np.linalg.norm(rows - mean, axis=1).argmin()]


def test_neighbours_are_followed_by_the_nearest_means() -> None:
    features, labels, cameras = two_bodies()
    geometry = Geometry(features, labels, cameras)
    crops = geometry.members[1]
    found = geometry.nearest(crops, 1)
    assert len(found) == 4 and 1 not in dict(found) and dict(geometry.nearest(crops))[1] > 0
    lists = near(geometry)
    for identity, share in found:
        assert share == pytest.approx(sum(labels[j] == identity for crop in crops for j in lists[crop]) / 160)
    values = [share for _, share in found]
    assert values == sorted(values, reverse=True)


def test_where_neighbours_name_few_clusters_the_nearest_means_follow() -> None:
    """Groups of 25 know only themselves."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(5, 12))
    labels = np.repeat(np.arange(5), 25)
    geometry = Geometry((centres[labels] + 0.01 * rng.normal(size=(125, 12))).astype(np.float32), labels)
    means = np.stack([geometry.rows[labels == one].mean(0) for one in range(5)])
    order = np.argsort(np.linalg.norm(means - means[2], axis=1)).tolist()
    assert geometry.nearest(geometry.members[2], 2) == [(one, 0.0) for one in order if one != 2]
    assert geometry.neighbours(2) == [] and geometry.part_doubt(2) == 0
