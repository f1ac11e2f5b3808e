"""Streams are pure functions of their keys."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unreid.utils.seed import generator_for, np_generator_for, seed_everything

keys = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5).map(tuple)

FROZEN_NUMPY = [233, 1, 733, 297]
FROZEN_TORCH = [432, 587, 126, 186]


def draw(key: tuple[int, ...]) -> tuple[list[float], list[int]]:
    return torch.rand(4, generator=generator_for(*key)).tolist(), np_generator_for(*key).integers(0, 2**40, 4).tolist()


@given(keys)
def test_a_key_gives_its_stream_whatever_ran_before(key: tuple[int, ...]) -> None:
    first = draw(key)
    torch.rand(3), np.random.rand(3)
    assert draw(key) == first


@given(keys, keys)
def test_other_keys_give_other_streams(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    assert (draw(one) == draw(other)) == (one == other)


@pytest.mark.parametrize("pair", [((1,), (1, 0)), ((2**32, 5), (0, 1 + 5 * 2**32)), ((1, 2), (2, 1)), ((0,), (0, 0))])
def test_keys_that_mix_alike_without_care(pair: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    assert draw(pair[0])[1] != draw(pair[1])[1]


def test_streams_are_frozen() -> None:
    """Resumed runs of another day must meet the same numbers."""
    assert np_generator_for(1, 2, 3).integers(0, 1000, 4).tolist() == FROZEN_NUMPY
    assert torch.randint(0, 1000, (4,), generator=generator_for(1, 2, 3)).tolist() == FROZEN_TORCH


def test_bad_keys() -> None:
    for key in ((), (-1,), (2**64,)):
        with pytest.raises(ValueError, match="keys must be"):
            generator_for(*key)
    assert draw((np.int64(5),)) == draw((5,))


def test_seed_everything() -> None:
    def numbers() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    seed_everything(7)
    first = numbers()
    assert numbers() != first
    seed_everything(7)
    assert numbers() == first
    assert not torch.backends.cudnn.benchmark
