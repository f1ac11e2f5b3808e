"""The rendered benchmark stays what it was: pictures, file names and walks of ``RENDERER_VERSION``.

Numbers of the documentation were measured on these worlds, and a folder is reused where its fingerprint fits.
Where a change is meant, raise the version and write the record again: ``python -m tests.data.test_rendered_world``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from unreid.rendering.knobs import RENDERER_VERSION, WorldKnobs
from unreid.rendering.layouts import LAYOUTS
from unreid.rendering.scene import Passage, Scene
from unreid.rendering.seeding import Half
from unreid.rendering.timeline import make_clock, timed_passages

RECORD = Path(__file__).with_name("rendered_world.json")
SHEETS = {
    "default": WorldKnobs(),
    "hard": WorldKnobs.preset("hard", seed=3, occlusion=1.0, view_bias=0.2),
    "plain": WorldKnobs(noise=0, jpeg=0, camera_shift=0, illumination=0, pose=0, own_background=1.0),
    "large": WorldKnobs(height=256, width=128, cameras=3),
}
NAMES = WorldKnobs(
    train_ids=3, test_ids=3, cameras=2, images_per_camera=(2, 3), distractors=2, junk=2, passes=2, seed=1
)
CELL = (8, 16)  # width and height of a picture in a sheet
TOLERANCE = 2  # levels: other builds of OpenCV round otherwise


def shown(knobs: WorldKnobs) -> Iterator[Passage]:
    """Passages of all populations; persons beyond the first palette and arrangement among them."""
    for half in Half:
        for number in (*range(8), 21):
            yield Passage(half, number, number % knobs.cameras, number // 8, 2)


def sheet(knobs: WorldKnobs) -> np.ndarray:
    """All pictures, small, side by side: uint8 (16 * populations, 8 * pictures, 3)."""
    scene = Scene(knobs)
    small = [
        cv2.resize(picture, CELL, interpolation=cv2.INTER_AREA)
        for passage in shown(knobs)
        for picture in scene.images(passage)
    ]
    return np.concatenate([np.concatenate(row, axis=1) for row in np.array_split(small, len(Half))])


def files(layout: str) -> dict[str, Any]:
    """Digests of all that a layout names and writes beside pictures."""
    plan = LAYOUTS[layout].plan(NAMES)
    listed = "\n".join(f"{roll.passage} {roll.targets}" for roll in plan.rolls)
    contents = {
        "": listed.encode(),
        **{name: plan.extra[name] for name in sorted(plan.extra) if not name.endswith(".mat")},
    }
    return {name: hashlib.sha256(content).hexdigest()[:16] for name, content in contents.items()}


def walks() -> list[list[int]]:
    """Identity, camera, pass and frames of all walks of a small world with a clock."""
    knobs = replace(NAMES, cameras=4)
    clock = make_clock(knobs)
    walks = [walk for half in Half for walk in timed_passages(knobs, clock, half)]
    return [[*clock.camera_starts], *([*walk.key, *(walk.frames or ())] for walk in walks)]


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORD.read_text())
    assert found["version"] == RENDERER_VERSION, "the version was raised: write the record again"
    return found


@pytest.mark.parametrize("name", SHEETS)
def test_pictures(name: str) -> None:
    expected = cv2.imread(str(RECORD.with_name(f"rendered_{name}.png")))
    difference = np.abs(sheet(SHEETS[name]).astype(int) - expected)
    assert difference.max() <= TOLERANCE, f"{(difference > TOLERANCE).mean():.1%} of the cells changed"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_file_names_and_lists(layout: str, record: dict[str, Any]) -> None:
    assert files(layout) == record["files"][layout]


def test_walks(record: dict[str, Any]) -> None:
    assert walks() == record["walks"]


if __name__ == "__main__":
    for title, knobs in SHEETS.items():
        cv2.imwrite(str(RECORD.with_name(f"rendered_{title}.png")), sheet(knobs))
    content = {"version": RENDERER_VERSION, "files": {layout: files(layout) for layout in LAYOUTS}, "walks": walks()}
    RECORD.write_text(json.dumps(content, indent=None).replace("], [", "],\n  [").replace('}, "', '},\n "') + "\n")
