"""Features without learning: what a re-ID score must be compared with.

Both functions read image files, as training reads them, and return unit rows, so that a dot product is a cosine. On the
rendered benchmark (default preset) the localised histogram is much stronger than an untrained network: quote both next
to every learned number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from unreid.data.reading import read_image

_BINS = (8, 4, 4)  # hue, saturation, value
_RANGES = (0, 180, 0, 256, 0, 256)


def raw_pixel_features(paths: Sequence[str], size: tuple[int, int] = (64, 32)) -> np.ndarray:
    """Pixels of the resized image, minus their own mean (so that brightness does not count).

    Args:
        size: (height, width) to which images are resized.

    Returns:
        float32 (N, 3 * height * width), unit rows.
    """
    rows = _per_image(paths, size, lambda image: image.reshape(-1).astype(np.float32))
    return _unit(rows - rows.mean(axis=1, keepdims=True))


def striped_histogram_features(
    paths: Sequence[str], size: tuple[int, int] = (64, 32), *, stripes: int = 6, crop: tuple[float, float] = (0.75, 0.5)
) -> np.ndarray:
    """Square-rooted HSV histograms (8 x 4 x 4 bins) of horizontal stripes of the central crop.

    Args:
        size: (height, width) to which images are resized.
        crop: share of the height and of the width that is kept.

    Returns:
        float32 (N, 128 * stripes), unit rows.
    """

    def describe(image: np.ndarray) -> np.ndarray:
        import cv2

        height, width = image.shape[:2]
        top, left = round(height * (1 - crop[0]) / 2), round(width * (1 - crop[1]) / 2)
        hsv = cv2.cvtColor(image[top : height - top, left : width - left], cv2.COLOR_RGB2HSV)
        parts = np.array_split(hsv, stripes, axis=0)
        return np.concatenate([_histogram(part) for part in parts])

    return _unit(_per_image(paths, size, describe))


def _histogram(hsv: np.ndarray) -> np.ndarray:
    import cv2

    counts = cv2.calcHist([np.ascontiguousarray(hsv)], [0, 1, 2], None, _BINS, _RANGES).ravel()
    return np.sqrt(counts / counts.sum())


def _per_image(paths: Sequence[str], size: tuple[int, int], describe: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    import cv2

    rows = []
    for path in paths:
        image = np.asarray(read_image(path))
        if image.shape[:2] != size:
            image = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA)
        rows.append(describe(image))
    return np.stack(rows).astype(np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
