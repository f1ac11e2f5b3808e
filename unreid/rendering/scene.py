"""Turns a pass of a person through a camera into images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from unreid.rendering.camera import BANK_HEIGHT, BANK_WIDTH, make_camera
from unreid.rendering.canvas import Canvas
from unreid.rendering.figure import paint_person
from unreid.rendering.identity import make_person
from unreid.rendering.knobs import CANVAS_HEIGHT, CANVAS_WIDTH, WorldKnobs
from unreid.rendering.occluder import paint_occluder
from unreid.rendering.seeding import Half, Purpose, stream
from unreid.rendering.skeleton import Pose, skeleton

_LIGHTS = 12  # directions of the light gradient
_STRIDE = 1.1  # radians of the walking cycle between two images
_PAN = 6.0  # pixels the background moves between two images
_NOISE_SIZE = 256


@dataclass(frozen=True)
class Passage:
    """One identity walks through one camera once.

    Attributes:
        half: population of the identity.
        number: number of the identity in its population.
        camera: 0-based camera.
        repeat: which pass through this camera, from 0.
        images: images of the pass.
        frames: their frame numbers on the camera's own clock (from 1), or None for an image set.
    """

    half: Half
    number: int
    camera: int
    repeat: int
    images: int
    frames: tuple[int, ...] | None = None

    @property
    def key(self) -> tuple[int, int, int, int]:
        """What tells its random streams from those of other passages."""
        return int(self.half), self.number, self.camera, self.repeat


@dataclass(frozen=True)
class _Setting:
    """What the images of a passage share."""

    yaw: float
    phase: float
    scale: float
    place: int
    left: int
    top: int
    light: int
    brightness: float


class Scene:
    """The cameras of a world and the way they take pictures. Holds no state between pictures."""

    def __init__(self, knobs: WorldKnobs) -> None:
        self.knobs = knobs
        self.cameras = [make_camera(knobs, number) for number in range(knobs.cameras)]
        noise = stream(knobs.seed, Purpose.SENSOR_NOISE).normal(0, knobs.noise, (_NOISE_SIZE, _NOISE_SIZE, 3))
        self._noise = np.clip(128 + noise, 0, 255).astype(np.uint8)
        rows, columns = np.mgrid[-1 : 1 : CANVAS_HEIGHT * 1j, -1 : 1 : CANVAS_WIDTH * 1j]
        angles = np.arange(_LIGHTS) * (2 * math.pi / _LIGHTS)
        slopes = (128 + 60 * (math.cos(a) * columns + math.sin(a) * rows) for a in angles)
        self._gradients = [np.repeat(slope.astype(np.uint8)[..., None], 3, axis=2) for slope in slopes]

    def images(self, passage: Passage) -> Iterator[np.ndarray]:
        """The pictures of a passage in order of time, uint8 (height, width, 3) BGR."""
        import cv2

        size = (self.knobs.width, self.knobs.height)
        person = make_person(self.knobs, passage.half, passage.number)
        setting = self._setting(passage)
        rng = stream(self.knobs.seed, Purpose.IMAGES, *passage.key)
        for moment in range(passage.images):
            uniform, normal = rng.random(24), rng.standard_normal(8)
            picture = self._backdrop(setting, moment, uniform)
            canvas = Canvas(picture)
            camera = self.cameras[passage.camera]
            pose = self._pose(passage, setting, moment, normal)
            paint_person(canvas, person, skeleton(person, pose, self.knobs.zoom, camera.elevation))
            if uniform[3] < self.knobs.occlusion:
                paint_occluder(canvas, uniform[4:10])
            picture = self._expose(passage, setting, canvas.image, uniform[10:], normal[5])
            if picture.shape[:2] != (size[1], size[0]):
                smaller = size[1] < CANVAS_HEIGHT
                method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
                picture = cv2.resize(picture, size, interpolation=method)
            yield picture

    def _setting(self, passage: Passage) -> _Setting:
        knobs, camera = self.knobs, self.cameras[passage.camera]
        rng = stream(knobs.seed, Purpose.PASSAGE, *passage.key)
        free, near = rng.uniform(-math.pi, math.pi), rng.normal(0, 0.45)
        yaw = camera.yaw + (1 - knobs.view_bias) * free + knobs.view_bias * near
        if rng.random() < 0.3:
            yaw += math.pi  # walks the other way
        at_home, elsewhere = rng.random() < knobs.own_background, int(rng.integers(len(self.cameras)))
        return _Setting(
            yaw=yaw,
            phase=rng.uniform(0, 2 * math.pi),
            scale=camera.scale * (1 + 0.05 * knobs.pose * rng.normal()),
            place=passage.camera if at_home else elsewhere,
            left=int(rng.integers(0, BANK_WIDTH - 110)),
            top=int(rng.integers(0, BANK_HEIGHT - CANVAS_HEIGHT - 20)),
            light=int(rng.integers(_LIGHTS)),
            brightness=knobs.illumination * rng.normal(0, 14),
        )

    def _backdrop(self, setting: _Setting, moment: int, uniform: np.ndarray) -> np.ndarray:
        import cv2

        width = CANVAS_WIDTH + int(24 * uniform[2])
        room = BANK_WIDTH - width
        left = int(setting.left + _PAN * moment + 20 * uniform[0]) % (2 * room)
        left = min(left, 2 * room - left)  # turns round at the end of the bank
        top = setting.top + int(20 * uniform[1])
        crop = self.cameras[setting.place].background[top : top + CANVAS_HEIGHT, left : left + width]
        return cv2.resize(crop, (CANVAS_WIDTH, CANVAS_HEIGHT), interpolation=cv2.INTER_LINEAR)

    def _pose(self, passage: Passage, setting: _Setting, moment: int, normal: np.ndarray) -> Pose:
        strength = self.knobs.pose
        dx, dy = 3.5 * strength * normal[3], 4 * strength * normal[4]
        if passage.half is Half.JUNK:  # a detector's mistake: most of the person is outside the box
            dx += math.copysign(CANVAS_WIDTH * 0.4, normal[3])
            dy += math.copysign(CANVAS_HEIGHT * 0.4, normal[4])
        return Pose(
            yaw=setting.yaw + 0.25 * strength * normal[0],
            phase=setting.phase + _STRIDE * moment + 0.4 * normal[1],
            dx=dx,
            dy=dy,
            height=setting.scale * (1 + 0.04 * strength * normal[2]),
            width=setting.scale,
        )

    def _expose(
        self, passage: Passage, setting: _Setting, image: np.ndarray, uniform: np.ndarray, flicker: float
    ) -> np.ndarray:
        """Light, the camera's colours and optics, sensor noise, the camera's JPEG encoder."""
        import cv2

        knobs = self.knobs
        slope = 0.25 * knobs.illumination * uniform[0]
        level = setting.brightness + 6 * knobs.illumination * flicker - 128 * slope
        image = cv2.addWeighted(image, 1.0, self._gradients[setting.light], slope, level)
        shake = 0.5 * uniform[1] if knobs.pose > 0 else 0.0
        image = self.cameras[passage.camera].develop(image, shake)
        if knobs.noise > 0:
            y = int(uniform[2] * (_NOISE_SIZE - CANVAS_HEIGHT))
            x = int(uniform[3] * (_NOISE_SIZE - CANVAS_WIDTH))
            grain = self._noise[y : y + CANVAS_HEIGHT, x : x + CANVAS_WIDTH]
            image = cv2.addWeighted(image, 1.0, grain, 1.0, -128)
        if knobs.jpeg:
            _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, knobs.jpeg])
            return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
        return image
