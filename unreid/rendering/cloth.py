"""Cloth of a torso as an unwrapped cylinder, so that what is printed on it turns with the person."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unreid.rendering.palette import Colour

HEIGHT, AROUND = 48, 128
FRONT, BACK = 32, 96  # columns of the centre of chest and back
_FOLDS = 40.0  # brightness of the folds

Mask = np.ndarray
_ROWS, _COLUMNS = np.mgrid[0:HEIGHT, 0:AROUND]


def _bands(position: np.ndarray, period: int, rng: np.random.Generator) -> Mask:
    shift = int(rng.integers(period))
    return ((position + shift) // (period // 2)) % 2 == 0


def _plain(rng: np.random.Generator) -> Mask:
    return np.zeros((HEIGHT, AROUND), dtype=bool)


def _horizontal(rng: np.random.Generator) -> Mask:
    return _bands(_ROWS, int(rng.integers(6, 14)), rng)


def _vertical(rng: np.random.Generator) -> Mask:
    return _bands(_COLUMNS, int(rng.choice([8, 16])), rng)


def _checks(rng: np.random.Generator) -> Mask:
    half = int(rng.choice([4, 8]))
    return (_COLUMNS // half + _ROWS // half) % 2 == 0


def _dots(rng: np.random.Generator) -> Mask:
    period = int(rng.choice([8, 16]))
    middle = (period - 1) / 2
    square = (_COLUMNS % period - middle) ** 2 + (_ROWS % period - middle) ** 2
    return square < (0.33 * period) ** 2


def _two_blocks(rng: np.random.Generator) -> Mask:
    below = _ROWS - int(rng.integers(14, 34))
    return below >= 0


def _logo(rng: np.random.Generator) -> Mask:
    half, row = int(rng.integers(7, 13)), int(rng.integers(14, 28))
    band = np.abs(_ROWS - row) < half
    mask = band & (np.abs(_COLUMNS - FRONT) < half)
    if rng.random() < 0.6:
        mask |= band & (np.abs(_COLUMNS - BACK) < half)
    return mask


def _diagonal(rng: np.random.Generator) -> Mask:
    return _bands(_COLUMNS + _ROWS, 16, rng)


PATTERNS: tuple[Callable[[np.random.Generator], Mask], ...] = (
    _plain,
    _horizontal,
    _vertical,
    _checks,
    _dots,
    _two_blocks,
    _logo,
    _diagonal,
)


def weave(rng: np.random.Generator, pattern: int, main: Colour, accent: Colour, jacket: Colour | None) -> np.ndarray:
    """Cloth of one person.

    Args:
        pattern: row of :data:`PATTERNS`.
        jacket: colour of the shirt that shows through an open jacket, or None.

    Returns:
        uint8 (48, 256, 3): the cylinder twice, so that any half of it is one slice.
    """
    import cv2

    cloth = np.empty((HEIGHT, AROUND, 3), dtype=np.float32)
    cloth[:] = main
    cloth[PATTERNS[pattern](rng)] = accent
    if jacket is not None:
        half = int(rng.integers(5, 10))
        cloth[:, FRONT - half : FRONT + half] = jacket
    folds = cv2.GaussianBlur(rng.normal(0.0, 1.0, (HEIGHT, AROUND)).astype(np.float32), (0, 0), 4.0)
    cloth += _FOLDS * folds[..., None]
    return np.tile(np.clip(cloth, 0, 255).astype(np.uint8), (1, 2, 1))
