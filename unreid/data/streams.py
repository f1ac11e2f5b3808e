"""Which random numbers of the data pipeline belong together: one generator per purpose and position.

Order, frames and augmentation are pure functions of (seed, purpose, epoch, step, ...). No generator lives longer than
the batch or pass it draws for, so a run can go on from any step and no worker process holds random state.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from unreid.utils.seed import np_generator_for


class Stream(IntEnum):
    """Keeps the draws of different purposes apart although they start from one seed."""

    ORDER = 11
    TRAIN_FRAMES = 12
    EXTRACT_FRAMES = 13
    AUGMENT = 14
    SOURCE = 15


def stream_generator(stream: Stream, *keys: int) -> np.random.Generator:
    """A fresh generator that depends on ``stream`` and ``keys`` (seed first) only."""
    return np_generator_for(int(stream), *keys)
