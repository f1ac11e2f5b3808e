"""Things that stand between the camera and the person."""

from __future__ import annotations

import numpy as np

from unreid.rendering.canvas import Canvas
from unreid.rendering.palette import CLOTH, SKIN, shaded


def paint_occluder(canvas: Canvas, uniform: np.ndarray) -> None:
    """Paints a low wall (40 %), a pole (30 %) or a passer-by at the side (30 %), in place.

    Args:
        uniform: six numbers in [0, 1): kind, colour, shade, size, place, skin.
    """
    kind, colour, shade, size, place, skin = (float(u) for u in uniform)
    paint = shaded(CLOTH[int(colour * len(CLOTH))].tolist(), 0.6 + 0.5 * shade)
    height, width = canvas.image.shape[:2]
    if kind < 0.4:
        canvas.image[int(height * (0.62 + 0.25 * size)) :] = paint
    elif kind < 0.7:
        thick = int(5 + 12 * size)
        left = int(place * (width - thick))
        canvas.image[:, left : left + thick] = paint
    else:
        x = -4.0 if place < 0.5 else width + 4.0
        canvas.ellipse(x, 75 + 20 * size, 13, 38, paint)
        canvas.ellipse(x, 35 + 20 * size, 7, 9, SKIN[int(skin * len(SKIN))].tolist())
