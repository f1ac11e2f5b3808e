"""What never changes about a camera: colours, optics, viewpoint and the place it looks at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unreid.rendering.knobs import CANVAS_HEIGHT, CANVAS_WIDTH, WorldKnobs
from unreid.rendering.palette import CLOTH, LUMINANCE
from unreid.rendering.seeding import Purpose, stream

BANK_HEIGHT, BANK_WIDTH = 320, 512


@dataclass(frozen=True)
class Camera:
    """One camera.

    Attributes:
        background: uint8 (320, 512, 3), the place; every image shows a crop of it.
        colour_mix: float32 (3, 3), saturation.
        response: uint8 (1, 256, 3), gamma, gain, cast and offset per channel as a lookup table.
        blur: Gaussian sigma in pixels of the canvas.
        sampling: 1, or the factor to which the image is shrunk before it is enlarged again.
        yaw: viewpoint it prefers, radians; 0 sees a person's front.
        elevation: how much legs are shortened by looking down.
        scale: size of persons.
    """

    background: np.ndarray
    colour_mix: np.ndarray
    response: np.ndarray
    blur: float
    sampling: float
    yaw: float
    elevation: float
    scale: float

    def develop(self, image: np.ndarray, extra_blur: float) -> np.ndarray:
        """``image`` (uint8, canvas size) as this camera records it, before sensor noise."""
        import cv2

        image = cv2.LUT(cv2.transform(image, self.colour_mix), self.response)
        if self.sampling < 1:
            small = cv2.resize(image, None, fx=self.sampling, fy=self.sampling, interpolation=cv2.INTER_LINEAR)
            image = cv2.resize(small, (CANVAS_WIDTH, CANVAS_HEIGHT), interpolation=cv2.INTER_LINEAR)
        sigma = self.blur + extra_blur
        return cv2.GaussianBlur(image, (5, 5), sigma) if sigma > 0.3 else image


def make_camera(knobs: WorldKnobs, number: int) -> Camera:
    """Camera ``number``: a pure function of the world seed, ``camera_shift`` and the background knobs."""
    rng = stream(knobs.seed, Purpose.CAMERA, number)
    strength = knobs.camera_shift
    cast = 1 + strength * rng.uniform(-0.22, 0.22, 3)
    gamma = 2.0 ** (strength * rng.uniform(-0.6, 0.6))
    gain = 1 + strength * rng.uniform(-0.18, 0.12)
    offset = strength * rng.uniform(-8, 22)
    levels = np.linspace(0, 1, 256)[:, None] ** gamma
    response = np.clip(255 * levels * gain * cast + offset, 0, 255).astype(np.uint8)
    saturation = 1 + strength * rng.uniform(-0.45, 0.25)
    mix = saturation * np.eye(3) + (1 - saturation) * np.tile(LUMINANCE, (3, 1))
    blur = strength * float(rng.choice([0.0, 0.0, 0.6, 0.9]))
    sampling = float(rng.choice([1.0, 1.0, 0.75, 0.55]))
    return Camera(
        colour_mix=mix.astype(np.float32),
        response=np.ascontiguousarray(response[None]),
        blur=blur,
        sampling=sampling if strength > 0 else 1.0,
        yaw=float(rng.uniform(0, 2 * np.pi)),
        elevation=float(rng.uniform(0, 0.12)),
        scale=float(1 + 0.06 * rng.normal()),
        background=_background(rng, knobs),
    )


def _background(rng: np.random.Generator, knobs: WorldKnobs) -> np.ndarray:
    """A wall above a ground, with doors, windows, signs, floor markings and dirt."""
    import cv2

    wall, ground = (
        np.clip(rng.uniform(60, 200) + rng.normal(0, knobs.background_colour, 3), 30, 230) for _ in range(2)
    )
    horizon = int(BANK_HEIGHT * rng.uniform(0.25, 0.6))
    place = np.empty((BANK_HEIGHT, BANK_WIDTH, 3), dtype=np.float32)
    place[:horizon], place[horizon:] = wall, ground
    opacity = 0.8 * knobs.clutter
    for _ in range(26):
        left, top = int(rng.integers(0, BANK_WIDTH - 12)), int(rng.integers(0, horizon))
        width, height = int(rng.integers(4, 60)), int(rng.integers(15, 130))
        muted = wall + rng.normal(0, 45, 3) * knobs.clutter
        bright = CLOTH[rng.integers(len(CLOTH))]
        colour = muted if rng.random() < 0.75 else bright
        bottom = min(horizon + 20, top + height)
        area = place[top:bottom, left : left + width]
        area += opacity * (colour - area)
    for _ in range(10):
        x0, x1 = (int(x) for x in rng.integers(0, BANK_WIDTH, 2))
        y0, y1 = (int(y) for y in rng.integers(horizon, BANK_HEIGHT, 2))
        colour = ground + rng.normal(0, 30, 3) * knobs.clutter
        cv2.line(place, (x0, y0), (x1, y1), tuple(float(c) for c in colour), int(rng.integers(2, 9)))
    dirt = rng.normal(0, 1, place.shape).astype(np.float32)
    place += 30 * knobs.clutter * cv2.GaussianBlur(dirt, (0, 0), 2.0)
    return np.clip(place, 0, 255).astype(np.uint8)
