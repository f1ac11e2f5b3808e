"""Anti-aliased drawing with sub-pixel coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from unreid.rendering.palette import Colour

Point = tuple[float, float]
_BITS = 4  # fractional bits of a coordinate
_ONE = 1 << _BITS


def _fixed(points: Sequence[Point]) -> np.ndarray:
    return np.array([(int(x * _ONE), int(y * _ONE)) for x, y in points], dtype=np.int32)


class Canvas:
    """A uint8 (H, W, 3) image and the few shapes a person is made of. Coordinates are pixels, x right, y down."""

    def __init__(self, image: np.ndarray) -> None:
        import cv2

        self.image = image
        self._cv2 = cv2

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Fills a convex polygon."""
        self._cv2.fillConvexPoly(self.image, _fixed(points), colour, self._cv2.LINE_AA, _BITS)

    def ellipse(self, x: float, y: float, half_width: float, half_height: float, colour: Colour) -> None:
        """Fills an upright ellipse around (x, y)."""
        centre = (int(x * _ONE), int(y * _ONE))
        axes = (max(1, int(half_width * _ONE)), max(1, int(half_height * _ONE)))
        self._cv2.ellipse(self.image, centre, axes, 0, 0, 360, colour, -1, self._cv2.LINE_AA, _BITS)

    def limb(self, start: Point, end: Point, start_radius: float, end_radius: float, colour: Colour) -> None:
        """Fills a bar from ``start`` to ``end`` whose half width goes from one radius to the other."""
        (x0, y0), (x1, y1) = start, end
        length = math.hypot(x1 - x0, y1 - y0) + 1e-6
        nx, ny = (y0 - y1) / length, (x1 - x0) / length
        self.polygon(
            (
                (x0 + nx * start_radius, y0 + ny * start_radius),
                (x1 + nx * end_radius, y1 + ny * end_radius),
                (x1 - nx * end_radius, y1 - ny * end_radius),
                (x0 - nx * start_radius, y0 - ny * start_radius),
            ),
            colour,
        )

    def textured(self, points: Sequence[Point], texture: np.ndarray) -> None:
        """Fills a convex polygon with ``texture`` (uint8 (h, w, 3)) stretched over its bounding box."""
        height, width = self.image.shape[:2]
        xs, ys = [x for x, _ in points], [y for _, y in points]
        left, right = math.floor(min(xs)), math.ceil(max(xs))
        top, bottom = math.floor(min(ys)), math.ceil(max(ys))
        x0, x1, y0, y1 = max(0, left), min(width, right), max(0, top), min(height, bottom)
        if x1 <= x0 or y1 <= y0:
            return
        fitted = self._cv2.resize(texture, (right - left, bottom - top), interpolation=self._cv2.INTER_LINEAR)
        mask = np.zeros((y1 - y0, x1 - x0), dtype=np.uint8)
        inside = _fixed([(x - x0, y - y0) for x, y in points])
        self._cv2.fillConvexPoly(mask, inside, 255, self._cv2.LINE_8, _BITS)
        self._cv2.copyTo(fitted[y0 - top : y1 - top, x0 - left : x1 - left], mask, self.image[y0:y1, x0:x1])
