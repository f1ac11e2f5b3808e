"""Small image files for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from unreid.structures import Tracklet


def write_image(path: Path, seed: int, height: int = 40, width: int = 20) -> str:
    """A random smooth image as JPEG; the same seed gives the same file."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 3, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path, quality=92)
    return str(path)


def write_tracklets(folder: Path, lengths: list[int], cameras: int = 2) -> list[Tracklet]:
    """One tracklet per length, cameras in turn."""
    return [
        Tracklet(
            tuple(write_image(folder / f"{number}_{frame}.jpg", 1000 * number + frame) for frame in range(length)),
            camid=number % cameras,
            trackid=number,
        )
        for number, length in enumerate(lengths)
    ]


def truncate(path: str) -> None:
    """Cuts a file in half, as a broken download does."""
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: len(data) // 2])
