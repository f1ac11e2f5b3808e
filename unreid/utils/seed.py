"""Random numbers that are pure functions of integers, and one switch for everything else."""

from __future__ import annotations

import logging
import random

import numpy as np
import torch

logger = logging.getLogger(__name__)

_WORD = 2**32


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch (all devices), and keep cuDNN from choosing algorithms by timing.

    Sampling and augmentation do not depend on these global states: they use :func:`generator_for`.
    """
    random.seed(seed)
    np.random.seed(seed % _WORD)
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    logger.info("seed %d, deterministic cuDNN", seed)


def np_generator_for(*keys: int) -> np.random.Generator:
    """A numpy generator whose stream depends on the keys and their number alone, e.g. (seed, epoch, step).

    Raises:
        ValueError: no key, or a key below 0 or above 2**64 - 1.
    """
    return np.random.Generator(np.random.Philox(_sequence(keys)))


def generator_for(*keys: int) -> torch.Generator:
    """The same as :func:`np_generator_for` for torch: a CPU generator.

    Torch seeds its CPU engine with 32 bits, so among millions of keys a few share a stream.
    """
    generator = torch.Generator()
    generator.manual_seed(int(_sequence(keys).generate_state(1, np.uint64)[0]))
    return generator


def _sequence(keys: tuple[int, ...]) -> np.random.SeedSequence:
    if not keys or any(not 0 <= key < _WORD * _WORD for key in keys):
        raise ValueError(f"keys must be one or more integers from 0 to 2**64 - 1, got {keys}")
    # Two words a key and the count in front: otherwise (1,) and (1, 0) would mix to the same state.
    words = [len(keys)]
    for key in keys:
        words += divmod(int(key), _WORD)
    return np.random.SeedSequence(words)
