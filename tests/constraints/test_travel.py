"""Tables of walking times: learnt from examples, or given."""

from __future__ import annotations

import numpy as np
import pytest

from unreid.constraints import learn_travel, travel_from_times
from unreid.constraints.travel import bin_numbers


def walks(count: int, mean: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 150, count).astype(np.int64)


def test_a_table_is_mirrored_normalised_and_peaks_at_the_walking_time() -> None:
    lags = np.concatenate((walks(200, 3000), walks(100, -1500, 1)))
    first, second = np.repeat([0, 0], [200, 100]), np.repeat([1, 2], [200, 100])
    travel, examples = learn_travel(first, second, lags, 3, max_lag=6000)
    assert travel.table.shape == (3, 3, 121) and travel.origin == 60 and travel.table.dtype == np.float32
    np.testing.assert_allclose(travel.table, travel.table.transpose(1, 0, 2)[:, :, ::-1], atol=1e-6)
    assert examples.tolist() == [[0, 200, 100], [200, 0, 0], [100, 0, 0]]
    for (a, b), mean in {(0, 1): 3000, (0, 2): -1500, (1, 0): -3000}.items():
        assert travel.table[a, b].max() == pytest.approx(1.0)
        assert abs((travel.table[a, b].argmax() - travel.origin) * travel.bin - mean) <= 200
    assert travel.table[0, 1, 0] < 1e-3
    # Camera pairs nobody was seen to walk are unknown, not impossible.
    assert (travel.table[1, 2] == np.float32(travel.unknown)).all() and 0 < travel.unknown < 1


def test_smoothing_is_a_gaussian_of_three_bins() -> None:
    travel, _ = learn_travel(np.zeros(30, int), np.ones(30, int), np.full(30, 500), 2, max_lag=3000)
    offsets = np.array([0, 1, 3, 6])
    expected = np.exp(-(offsets**2) / (2 * 3.0**2))
    np.testing.assert_allclose(travel.table[0, 1][travel.origin + 5 + offsets], expected, atol=1e-6)


def test_returns_to_one_camera_count_once() -> None:
    travel, examples = learn_travel(np.zeros(25, int), np.zeros(25, int), walks(25, 900), 1, max_lag=3000)
    assert examples.tolist() == [[25]]
    np.testing.assert_allclose(travel.table[0, 0], travel.table[0, 0][::-1], atol=1e-6)


def test_unknown_is_given_or_the_median_of_what_was_seen() -> None:
    arguments = np.zeros(40, int), np.ones(40, int), walks(40, 2000), 2
    assert learn_travel(*arguments, unknown=0.25)[0].unknown == 0.25
    travel, _ = learn_travel(*arguments)
    seen = np.unique(bin_numbers(arguments[2], 100)) + travel.origin
    assert travel.unknown == pytest.approx(float(np.median(travel.table[0, 1][seen])), abs=1e-6)


def test_too_few_examples_are_named() -> None:
    with pytest.raises(ValueError, match="no camera pair has 20 examples, the most are 5"):
        learn_travel(np.zeros(5, int), np.ones(5, int), np.full(5, 100), 2)
    with pytest.raises(ValueError, match="the most are 0"):
        learn_travel(np.zeros(30, int), np.ones(30, int), np.full(30, 30_000), 2)  # beyond max_lag


def test_just_enough_examples_are_enough() -> None:
    lags, first = np.full(39, 1000), np.zeros(39, int)
    travel, examples = learn_travel(first, np.repeat([1, 2], [20, 19]), lags, 3)
    assert examples[0].tolist() == [0, 20, 19]
    assert travel.table[0, 1].max() == 1.0 and (travel.table[0, 2] == np.float32(travel.unknown)).all()


def test_bins_are_symmetric() -> None:
    lags = np.arange(-1000, 1001)
    assert np.array_equal(bin_numbers(-lags, 100), -bin_numbers(lags, 100))
    assert bin_numbers(np.array([49, 51, -51]), 100).tolist() == [0, 1, -1]


def test_given_times() -> None:
    travel = travel_from_times({(0, 1): (10.0, 2.0)}, 3, frame_rate=60.0, bin=60, max_lag=1800)
    seconds = np.arange(-30, 31)
    np.testing.assert_allclose(travel.table[0, 1], np.exp(-((seconds - 10) ** 2) / 8), atol=1e-6)
    np.testing.assert_allclose(travel.table[1, 0], travel.table[0, 1][::-1])
    assert (travel.table[0, 2] == 0.5).all() and travel.unknown == 0.5
    both = travel_from_times({(0, 1): (10.0, 2.0), (1, 0): (5.0, 2.0)}, 2, frame_rate=60.0, bin=60, max_lag=1800)
    np.testing.assert_allclose(
        both.table[0, 1], np.maximum(travel.table[0, 1], np.exp(-((seconds + 5) ** 2) / 8)), atol=1e-6
    )
