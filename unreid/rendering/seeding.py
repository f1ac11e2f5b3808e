"""One random stream per object, so that adding an object changes no other."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream is for. The numbers are part of every rendered image: never renumber."""

    LOOKALIKE_GROUP = 1
    IDENTITY = 2
    CAMERA = 3
    SENSOR_NOISE = 4
    ROUTE = 5
    PASSAGE = 6
    IMAGES = 7
    SCHEDULE = 8
    CAMERA_SITE = 9
    FILE_NAMES = 10


class Half(IntEnum):
    """Which population an identity belongs to. Part of every stream's key: never renumber."""

    TRAIN = 0
    TEST = 1
    DISTRACTOR = 2
    JUNK = 3


_FAMILY = 10
"""Chosen so that world 0 is an ordinary one: its non-learned baselines lie in the middle of those of other worlds."""


def stream(seed: int, purpose: Purpose, *key: int) -> np.random.Generator:
    """The generator of one object, a pure function of its arguments (all non-negative)."""
    return np.random.default_rng(np.random.SeedSequence([_FAMILY, seed, int(purpose), *key]))
