"""The knobs of a rendered world, its presets and the fingerprint that names its folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from unreid.utils.errors import UserError

RENDERER_VERSION = 1
"""Raised whenever a change alters a rendered pixel or file name: stored benchmark numbers then no longer apply."""

CANVAS_HEIGHT, CANVAS_WIDTH = 128, 64


@dataclass(frozen=True)
class WorldKnobs:
    """Everything that decides what a world looks like; equal knobs give equal files.

    Attributes:
        train_ids, test_ids: identities of the two halves; raising them leaves the existing images as they are.
        cameras: number of cameras C.
        cameras_per_id: fewest and most cameras an identity is seen in (cut to C).
        images_per_camera: images of one pass (fewest and most; an image set uses the first number).
        passes: passes of an identity through each of its cameras.
        distractors: single-shot gallery persons, identity 0.
        junk: badly cropped gallery images, identity -1.
        twin: identities per look-alike group, which shares its set of clothing colours.
        camera_shift: strength of colour cast, gamma, saturation, blur and down-sampling of the cameras.
        view_bias: 0 any viewpoint, 1 the camera dictates it.
        pose: strength of scale, translation and gait changes.
        occlusion: probability that something stands before the person.
        clutter: contrast of the background's structures.
        own_background: probability that a pass shows its own camera's background, else that of a random camera.
        background_colour: standard deviation of the colour of walls and grounds, 8-bit levels.
        zoom: size of the person in the box.
        illumination: strength of light level and light gradient.
        noise: sensor noise, standard deviation in 8-bit levels.
        jpeg: quality of the camera's own JPEG encoder; 0: none.
        height, width: pixels of the written images.
    """

    seed: int = 0
    train_ids: int = 80
    test_ids: int = 80
    cameras: int = 6
    cameras_per_id: tuple[int, int] = (3, 6)
    images_per_camera: tuple[int, int] = (4, 4)
    passes: int = 1
    distractors: int = 0
    junk: int = 48
    twin: int = 2
    camera_shift: float = 0.5
    view_bias: float = 0.6
    pose: float = 1.0
    occlusion: float = 0.15
    clutter: float = 0.6
    own_background: float = 0.2
    background_colour: float = 14.0
    zoom: float = 1.3
    illumination: float = 1.0
    noise: float = 4.0
    jpeg: int = 75
    height: int = CANVAS_HEIGHT
    width: int = CANVAS_WIDTH

    def __post_init__(self) -> None:
        at_least_one = ("train_ids", "test_ids", "cameras", "passes", "twin", "height", "width")
        for name in at_least_one:
            if getattr(self, name) < 1:
                raise UserError(f"A rendered world needs {name} >= 1, not {getattr(self, name)}.")
        for name in ("distractors", "junk", "seed"):
            if getattr(self, name) < 0:
                raise UserError(f"A rendered world needs {name} >= 0, not {getattr(self, name)}.")
        for name in ("cameras_per_id", "images_per_camera"):
            low, high = getattr(self, name)
            if not 1 <= low <= high:
                raise UserError(f"A rendered world needs 1 <= {name}[0] <= {name}[1], not {low} and {high}.")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """The knobs of a preset, "default" or "hard", with ``changes``; raises :class:`UserError` if unknown."""
        if name not in PRESETS:
            raise UserError(f"There is no rendering preset {name!r}; there are {', '.join(PRESETS)}.")
        return replace(cls(**PRESETS[name]), **changes)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`; raises ``TypeError`` for unknown names."""
        knobs: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**knobs)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, fit for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def fingerprint(self, layout: str) -> str:
        """Ten hexadecimal digits that differ between worlds, layouts and renderer versions."""
        text = json.dumps([RENDERER_VERSION, layout, self.to_dict()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]


PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "hard": {"camera_shift": 1.0, "twin": 4, "clutter": 1.0, "own_background": 0.8, "occlusion": 0.35},
}
