"""Frame selection: windows, subsets, even spacing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unreid.data.frames import FRAME_MODES, frame_indices, frame_window

lengths = st.integers(1, 40)


@given(lengths, st.sampled_from(FRAME_MODES), st.integers(0, 50), st.integers(0, 10), st.booleans())
def test_indices_are_valid_and_a_function_of_the_generator(
    n: int, mode: str, length: int, seed: int, last_window: bool
) -> None:
    def draw() -> np.ndarray:
        return frame_indices(n, mode, length, np.random.default_rng(seed), last_window=last_window)

    found = draw()
    assert np.issubdtype(found.dtype, np.int64) and found.min() >= 0 and found.max() < n
    assert np.array_equal(found, draw())
    if mode == "all" or length == 0:
        assert found.tolist() == list(range(n))
    else:
        assert len(found) == (min(n, length) if mode == "even" else length)


@given(lengths, lengths, st.integers(0, 10))
def test_a_window_is_consecutive_or_repeats_the_whole_tracklet(n: int, length: int, seed: int) -> None:
    found = frame_indices(n, "window", length, np.random.default_rng(seed))
    if n >= length:
        assert found.tolist() == list(range(found[0], found[0] + length))
    else:
        assert found.tolist() == [position % n for position in range(length)]


@pytest.mark.parametrize("last_window", [True, False])
def test_where_windows_begin(last_window: bool) -> None:
    rng = np.random.default_rng(0)
    begins = {int(frame_indices(7, "window", 4, rng, last_window=last_window)[0]) for _ in range(100)}
    assert begins == ({0, 1, 2, 3} if last_window else {0, 1, 2})


@given(lengths, lengths, st.integers(0, 10))
def test_a_subset_is_sorted_and_repeats_only_when_it_must(n: int, length: int, seed: int) -> None:
    found = frame_indices(n, "subset", length, np.random.default_rng(seed))
    assert found.tolist() == sorted(found)
    if n >= length:
        assert len(set(found)) == length


@given(lengths, lengths)
def test_even_frames_are_evenly_spaced(n: int, length: int) -> None:
    found = frame_indices(n, "even", length)
    if n > length:
        steps = np.diff(found)
        assert len(set(found)) == length
        assert not len(steps) or steps.max() - steps.min() <= 1
        assert abs(int(found[0]) - (n - 1 - int(found[-1]))) <= 1
    else:
        assert found.tolist() == list(range(n))


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        frame_indices(0, "all")
    with pytest.raises(ValueError, match="unknown frame mode 'first'; known: window"):
        frame_indices(3, "first")
    with pytest.raises(ValueError, match="generator"):
        frame_indices(9, "window", 4)


def test_a_window_that_passes_the_end_goes_on_from_its_own_beginning() -> None:
    assert frame_window(5, 7, 2).tolist() == [2, 3, 4, 2, 3, 4, 2]
