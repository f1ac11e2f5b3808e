"""The colours of the rendered world, BGR as OpenCV draws and stores them."""

from __future__ import annotations

import numpy as np

Colour = tuple[float, float, float]


def _bgr(*rgb: tuple[int, int, int]) -> np.ndarray:
    return np.ascontiguousarray(np.array(rgb, dtype=np.float32)[:, ::-1])


CLOTH = _bgr(
    (200, 40, 45),  # red
    (35, 70, 170),  # blue
    (40, 130, 60),  # green
    (225, 195, 60),  # yellow
    (235, 235, 230),  # white
    (35, 35, 40),  # black
    (125, 125, 130),  # grey
    (130, 60, 140),  # purple
    (235, 130, 50),  # orange
    (110, 75, 50),  # brown
    (120, 185, 225),  # light blue
    (240, 160, 180),  # pink
)
SHOE_CHOICES = (4, 5, 6, 0, 9)  # rows of CLOTH
HAIR = _bgr((25, 20, 18), (70, 45, 25), (150, 105, 55), (215, 180, 110), (130, 50, 25), (170, 170, 170))
SKIN = _bgr((250, 215, 190), (230, 185, 150), (200, 150, 110), (150, 100, 70), (95, 62, 45))
LUMINANCE = np.array([0.114, 0.587, 0.299], dtype=np.float32)


def jittered(colour: np.ndarray, rng: np.random.Generator, sigma: float = 8.0) -> Colour:
    """A row of a palette with normal noise of ``sigma`` levels, kept off pure black and white."""
    b, g, r = np.clip(colour + rng.normal(0.0, sigma, 3), 8.0, 247.0).tolist()
    return b, g, r


def pick(colours: np.ndarray, rng: np.random.Generator, sigma: float = 8.0) -> Colour:
    """A random row of ``colours``, jittered."""
    return jittered(colours[rng.integers(len(colours))], rng, sigma)


def shaded(colour: Colour, factor: float) -> Colour:
    """``colour`` brightened or darkened."""
    b, g, r = colour
    return min(255.0, b * factor), min(255.0, g * factor), min(255.0, r * factor)
