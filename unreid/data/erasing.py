"""Random erasing: where a rectangle of an image is overwritten (Zhong et al., AAAI 2020)."""

from __future__ import annotations

import math

import numpy as np

ERASING_VARIANTS = ("zhong", "torchvision")
_TRIES = {"zhong": 100, "torchvision": 10}


def draw_erase_boxes(
    generator: np.random.Generator,
    n: int,
    height: int,
    width: int,
    *,
    prob: float,
    variant: str = "zhong",
    area: tuple[float, float] = (0.02, 0.4),
    ratio: float = 0.3,
) -> np.ndarray:
    """Boxes to erase in ``n`` images of one size, drawn together.

    Both variants draw an area fraction uniformly and an aspect (height / width) between ``ratio`` and 1 / ``ratio``,
    round ``h = sqrt(area * aspect)`` and ``w = sqrt(area / aspect)``, accept ``h < height`` and ``w < width``, and
    place the box uniformly. They differ in the aspect: uniform with up to 100 tries ("zhong", the references' own
    code), log-uniform with up to 10 tries ("torchvision", ``RandomErasing``).

    Args:
        prob: probability that an image is erased at all.

    Returns:
        int64 (n, 4): top, left, height, width; height and width 0 where nothing is erased.

    Raises:
        ValueError: an unknown variant.
    """
    if variant not in ERASING_VARIANTS:
        raise ValueError(f"unknown erasing variant {variant!r}; known: {', '.join(ERASING_VARIANTS)}")
    tries = _TRIES[variant]
    erased = generator.random(n) < prob
    areas = generator.uniform(*area, size=(n, tries)) * (height * width)
    if variant == "zhong":
        aspects = generator.uniform(ratio, 1 / ratio, size=(n, tries))
    else:
        aspects = np.exp(generator.uniform(math.log(ratio), -math.log(ratio), size=(n, tries)))
    heights = np.rint(np.sqrt(areas * aspects)).astype(np.int64)
    widths = np.rint(np.sqrt(areas / aspects)).astype(np.int64)
    corners = generator.random((n, 2))
    fits = (heights < height) & (widths < width)
    rows, first = np.arange(n), fits.argmax(axis=1)
    h, w = heights[rows, first], widths[rows, first]
    top = (corners[:, 0] * (height - h + 1)).astype(np.int64)
    left = (corners[:, 1] * (width - w + 1)).astype(np.int64)
    return np.stack([top, left, h, w], axis=1) * (erased & fits.any(axis=1))[:, None]
