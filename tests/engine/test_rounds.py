"""Poor clusterings, and samples that could not be read."""

from __future__ import annotations

import logging

import pytest
import torch

from unreid.engine.rounds import RoundGuard
from unreid.structures import Clustering
from unreid.utils.errors import UserError

GOOD = [0, 0, 1, 1, -1]
NONE, ONE = [-1] * 5, [0, 0, 0, 0, -1]


def clustering(labels: list[int]) -> Clustering:
    return Clustering.from_labels(labels, features=torch.eye(5), part_features=torch.eye(5), eps=0.5)


def test_a_good_clustering_passes_as_it_is() -> None:
    given = clustering(GOOD)
    assert RoundGuard(1).check(given, 0) is given


@pytest.mark.parametrize(
    ("labels", "found", "advice"),
    [
        (NONE, "no cluster", "raise CLUSTER.EPS or lower CLUSTER.MIN_SAMPLES"),
        (ONE, "one single cluster", "lower CLUSTER.EPS"),
    ],
)
def test_a_poor_one_is_replaced_by_the_last_good_labels_on_its_own_features(
    labels: list[int], found: str, advice: str, caplog: pytest.LogCaptureFixture
) -> None:
    guard = RoundGuard(3)
    first = guard.check(clustering(labels), 0)
    assert first.labels.tolist() == [0, 1, 2, 3, 4] and first.num_clusters == 5
    guard.check(clustering(GOOD), 1)
    poor = clustering(labels)
    second = guard.check(poor, 2)
    assert second.labels.tolist() == GOOD and second.num_clusters == 2
    assert second.features is poor.features and second.part_features is poor.part_features
    (said, again) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert found in said and advice in said and "every image as its own class" in said
    assert "round 2" in again and "the previous labels" in again


def test_only_rounds_in_a_row_count() -> None:
    guard = RoundGuard(2)
    for labels in (NONE, GOOD, NONE, GOOD, ONE):
        guard.check(clustering(labels), 0)
    with pytest.raises(UserError, match=r"no cluster in 2 rounds in a row \(CLUSTER\.MAX_EMPTY_ROUNDS\)"):
        guard.check(clustering(NONE), 0)


def test_a_restored_guard_counts_on_and_knows_the_previous_labels() -> None:
    guard, restored = RoundGuard(3), RoundGuard(3)
    for labels in (GOOD, NONE):
        guard.check(clustering(labels), 0)
    restored.load_state_dict(guard.state_dict())
    assert restored.check(clustering(NONE), 2).labels.tolist() == GOOD
    with pytest.raises(UserError, match="in 3 rounds"):
        restored.check(clustering(NONE), 3)
    fresh = RoundGuard(3)
    fresh.load_state_dict(RoundGuard(3).state_dict())
    assert fresh.check(clustering(NONE), 0).num_clusters == 5


# ------------------------------------------------------------------------------------------------ unreadable


def read(labels: list[int]) -> Clustering:
    count = max(labels) + 1
    rows = torch.arange(2.0 * count).view(count, 2)
    core = torch.ones(len(labels), dtype=torch.bool)
    return Clustering(torch.tensor(labels), count, rows, core, features=torch.ones(len(labels), 3), eps=0.5)


def test_unreadable_samples_become_outliers_and_the_rest_stays() -> None:
    given = read([0, 0, 1, 1, -1])
    assert given.without(torch.tensor([], dtype=torch.int64)) is given
    found = given.without(torch.tensor([1, 4]))
    assert found.labels.tolist() == [0, -1, 1, 1, -1] and found.num_clusters == 2
    assert found.centroids is given.centroids and found.core is given.core
    assert found.eps == 0.5 and found.features is given.features
    assert given.labels.tolist() == [0, 0, 1, 1, -1], "the given labels are someone else's"


@pytest.mark.parametrize("lost", [[0, 1], [0, 1, 2, 3], [2, 3]])
def test_a_cluster_that_is_lost_takes_its_centroid_with_it(lost: list[int]) -> None:
    """Otherwise every later cluster would train against the centroid of another one."""
    given = read([0, 0, 1, 1, 2, 2])
    found = given.without(torch.tensor(lost))
    left = sorted({given.labels[i].item() for i in range(6) if i not in lost})
    assert found.num_clusters == len(left)
    assert sorted(set(found.labels.tolist()) - {-1}) == list(range(len(left)))
    if found.centroids is not None:
        assert torch.equal(found.centroids, given.centroids[left])  # type: ignore[index]
