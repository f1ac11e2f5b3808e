"""The random state of a process: what is drawn after a restore is what would have been drawn."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from unreid.engine.rng import rng_state, set_rng_state
from unreid.utils.io import atomic_save, load_checkpoint


def draw() -> list[float]:
    return [
        *torch.rand(3).tolist(),
        *torch.randn(3).tolist(),
        *np.random.rand(3).tolist(),
        *np.random.randn(2).tolist(),
        *(random.random() for _ in range(3)),
        random.gauss(0, 1),
    ]


@pytest.mark.parametrize("before", ["nothing", "half of a pair"])
def test_the_stream_goes_on(before: str, tmp_path: Path) -> None:
    """NumPy and Python draw normal numbers in pairs and keep the second one: it belongs to the state."""
    random.seed(1), np.random.seed(1)  # nothing kept from tests before
    if before != "nothing":
        np.random.randn(), random.gauss(0, 1)
    atomic_save(rng_state(), tmp_path / "state.pth")
    expected = draw()
    assert draw() != expected
    set_rng_state(load_checkpoint(tmp_path / "state.pth"))  # what a checkpoint can hold
    assert draw() == expected
