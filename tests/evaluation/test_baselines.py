"""Features without learning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from unreid.evaluation.baselines import raw_pixel_features


def test_brightness_does_not_count_in_raw_pixels(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 100, (64, 32, 3), dtype=np.uint8)
    for name, brighter in (("a.png", 0), ("b.png", 100)):
        Image.fromarray(picture + np.uint8(brighter)).save(tmp_path / name)
    dark, bright = raw_pixel_features([str(tmp_path / "a.png"), str(tmp_path / "b.png")])
    np.testing.assert_allclose(dark, bright, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(dark), 1, atol=1e-5)
