"""What is kept of the clusters while they change is what would be found anew."""

from __future__ import annotations

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
