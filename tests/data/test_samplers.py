"""Sampler rules as properties, distribution against a slow sampler, batches and resuming."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unreid.data.batches import EpochBatches
from unreid.data.samplers import (
    SAMPLERS,
    IdentitySampler,
    MultiCameraSampler,
    NoCameraSampler,
    Sampler,
    ShuffleSampler,
)
from unreid.utils.errors import UserError

from .sampler_rules import check_pass

worlds = st.lists(st.tuples(st.integers(-1, 6), st.integers(0, 3)), min_size=4, max_size=60).filter(
    lambda rows: max(np.bincount([label for label, _ in rows if label >= 0], minlength=1)) > 1
)


@given(
    worlds,
    st.sampled_from([MultiCameraSampler, NoCameraSampler, IdentitySampler]),
    st.integers(1, 9),
    st.sampled_from(["3c", "cc"]),
    st.sampled_from(["skip", "repeat", "emit"]),
    st.integers(0, 100),
)
def test_every_pass_obeys_the_rules(
    world: list[tuple[int, int]], kind: type[Sampler], k: int, draw: str, singleton: str, seed: int
) -> None:
    labels, camids = np.array(world).T
    sampler = kind(labels, camids, k, draw=draw, singleton=singleton)
    rng = np.random.default_rng(seed)
    for _ in range(3):
        drawn = sampler.one_pass(rng)
        assert drawn.dtype == np.int64 and len(drawn) == sampler.pass_length
        check_pass(
            drawn,
            labels,
            camids if kind is MultiCameraSampler else None,
            k,
            draw=draw,
            singleton=singleton,
            anchored=kind is not IdentitySampler,
        )


def slow_group(members: list[int], camids: list[int], k: int, draw: str, rng: np.random.Generator) -> list[int]:
    """One group, drawn by the definition."""
    anchor = int(rng.choice(members))
    pool = [m for m in members if camids[m] != camids[anchor]] or [m for m in members if m != anchor]
    wanted = k - 1
    if draw == "cc":
        return [anchor, *rng.choice(pool, wanted, replace=len(pool) < k)]
    if len(pool) >= wanted:
        return [anchor, *rng.choice(pool, wanted, replace=False)]
    missing = wanted - len(pool)
    return [anchor, *rng.permutation(pool), *rng.choice(pool, missing, replace=missing > len(pool))]


@pytest.mark.parametrize("draw", ["3c", "cc"])
@pytest.mark.parametrize("k", [3, 4, 8])
def test_draws_are_distributed_as_defined(draw: str, k: int) -> None:
    camids = [0, 0, 1, 1, 1, 2]
    sampler = MultiCameraSampler([0] * 6, camids, k, draw=draw)
    rng, slow_rng, rounds = np.random.default_rng(0), np.random.default_rng(1), 4000
    counts, slow = np.zeros((k, 6)), np.zeros((k, 6))
    for _ in range(rounds):
        counts[np.arange(k), sampler.one_pass(rng)] += 1
        slow[np.arange(k), slow_group(list(range(6)), camids, k, draw, slow_rng)] += 1
    assert np.abs(counts - slow).max() / rounds < 0.05


def test_groups_are_shuffled() -> None:
    sampler = MultiCameraSampler(np.repeat(np.arange(20), 3), None, 3)
    rng = np.random.default_rng(0)
    first, second = (sampler.one_pass(rng)[::3] // 3 for _ in range(2))
    assert first.tolist() != sorted(first) and first.tolist() != second.tolist()


def test_shuffle_lists_every_labelled_sample_once() -> None:
    sampler = ShuffleSampler([3, -1, 0, 0, 7])
    assert sorted(sampler.one_pass(np.random.default_rng(0))) == [0, 2, 3, 4]
    assert sampler.pass_length == 4 and sampler.num_clusters == 3


@pytest.mark.parametrize(
    ("kind", "labels", "options"),
    [
        (MultiCameraSampler, [-1, -1], {}),
        (MultiCameraSampler, [0, 1, 2], {}),
        (ShuffleSampler, [-1], {}),
        (MultiCameraSampler, [0, 0], {"draw": "4c"}),
        (MultiCameraSampler, [0, 0], {"singleton": "drop"}),
        (MultiCameraSampler, [0, 0], {"num_instances": 0}),
        (MultiCameraSampler, [0, 0], {"camids": [0]}),
    ],
)
def test_bad_input(kind: type[Sampler], labels: list[int], options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        kind(labels, **options)


def test_proxies_of_one_image_each_are_a_users_matter() -> None:
    """As of cameras that saw everybody once; not an error of the package with its traceback."""
    sampler = SAMPLERS.get("proxy")
    with pytest.raises(UserError, match="SAMPLER.SINGLETON repeat"):
        sampler([0, 0, 1, 1], [0, 1, 0, 1], 2)
    assert sampler([0, 0, 1, 1], [0, 1, 0, 1], 2, singleton="repeat").num_clusters == 4


def test_the_registry_knows_the_names_of_the_config() -> None:
    assert {SAMPLERS.get(name) for name in ("multi_camera", "identity", "shuffle", "no_camera")} == {
        MultiCameraSampler,
        IdentitySampler,
        ShuffleSampler,
        NoCameraSampler,
    }
    with pytest.raises(UserError, match="multi_camera"):
        SAMPLERS.get("multicam")


LABELS = np.repeat(np.arange(7), 4)


def batches(batch_size: int, **options: Any) -> EpochBatches:
    return EpochBatches(MultiCameraSampler(LABELS, None, 4), batch_size, **{"seed": 5, **options})


def test_batches_are_full_and_hold_whole_groups() -> None:
    cut = batches(12, iters=9)
    found = list(cut.epoch(0))
    assert [step for step, _ in found] == list(range(9)) and len(cut) == 9
    for _, indices in found:
        assert len(indices) == 12 and (LABELS[indices].reshape(3, 4) == LABELS[indices][::4, None]).all()
    # Two batches a pass: the clusters of both differ, one of seven is dropped.
    for first in range(0, 8, 2):
        clusters = np.concatenate([LABELS[found[first + half][1][::4]] for half in range(2)])
        assert len(set(clusters)) == 6


def test_zero_iterations_mean_one_pass() -> None:
    assert len(batches(12)) == 2
    assert len(batches(28)) == 1


def test_any_step_is_found_without_the_steps_before_it() -> None:
    whole = dict(batches(8, iters=10).epoch(3))
    for start in (0, 1, 4, 9, 10):
        for step, indices in batches(8, iters=10).epoch(3, start):
            assert np.array_equal(indices, whole[step])
    assert not np.array_equal(batches(8).batch(2, 0), whole[0])
    assert not np.array_equal(batches(8, seed=6).batch(3, 0), whole[0])


def test_too_few_clusters_repeat_within_a_batch_and_one_warning_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        cut = batches(64, iters=3)
        found = [indices for epoch in range(2) for _, indices in cut.epoch(epoch)]
    assert all(len(indices) == 64 for indices in found)
    assert all(set(LABELS[indices]) == set(range(7)) for indices in found)
    (message,) = [record.getMessage() for record in caplog.records]
    assert "7 clusters x 4 instances" in message and "64" in message


def test_a_batch_needs_a_size() -> None:
    with pytest.raises(ValueError, match="at least one"):
        batches(0)


def test_every_pass_of_an_epoch_is_drawn_anew() -> None:
    """Two batches a pass: those of later passes, and of later epochs from one and the same object, are others."""
    cut = batches(12, iters=8)
    passes = [
        np.concatenate([cut.batch(epoch, step + half) for half in (0, 1)]) for epoch in (0, 1) for step in (0, 2, 4)
    ]
    assert len({found.tobytes() for found in passes}) == 6
    assert np.array_equal(cut.batch(0, 5), batches(12, iters=8).batch(0, 5)), "whatever was asked before"


def test_passes_that_share_a_batch_are_drawn_one_by_one() -> None:
    joined = batches(56).batch(0, 0)
    assert not np.array_equal(joined[:28], joined[28:])


def many(sampler: Sampler, count: int = 200) -> list[list[int]]:
    """Groups of many passes over one cluster."""
    return [sampler.one_pass(np.random.default_rng(seed)).tolist() for seed in range(count)]


def test_cluster_contrast_draws_with_replacement_already_when_there_are_just_enough() -> None:
    """One camera, a cluster of four, groups of four: the anchor and three draws from the three others."""
    groups = {draw: many(MultiCameraSampler([0] * 4, [0] * 4, 4, draw=draw)) for draw in ("3c", "cc")}
    assert all(len(set(group)) == 4 for group in groups["3c"])
    assert any(len(set(group)) < 4 for group in groups["cc"])
    assert all(group[0] not in group[1:] for group in groups["cc"])
    enough = many(MultiCameraSampler([0] * 5, [0] * 5, 4, draw="cc"))
    assert all(len(set(group)) == 4 for group in enough)


def test_who_follows_an_anchor_depends_on_cameras_only_where_the_sampler_looks_at_them() -> None:
    pairs = {
        kind: {tuple(sorted(group)) for group in many(kind([0, 0, 0], [0, 0, 1], 2))}
        for kind in (MultiCameraSampler, NoCameraSampler, IdentitySampler)
    }
    everyone = {(0, 1), (0, 2), (1, 2)}
    assert pairs == {MultiCameraSampler: {(0, 2), (1, 2)}, NoCameraSampler: everyone, IdentitySampler: everyone}
