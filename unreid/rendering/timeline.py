"""When people pass which camera: a clock that all cameras share, and walks between places on a map.

One identity is in one place at a time: its passages follow each other with the time it takes to walk from camera to
camera. Different identities overlap in time, and look-alikes (consecutive numbers) walk about in the same minutes, so
that a cannot-link mined from overlapping intervals says something that appearance does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from unreid.rendering.knobs import WorldKnobs
from unreid.rendering.scene import Passage
from unreid.rendering.seeding import Half, Purpose, stream
from unreid.rendering.world import cameras_of, identities

FRAME_RATE = 60_000 / 1001  # frames per second, as in DukeMTMC
IMAGE_STRIDE = 12  # video frames between two images of a passage, as in DukeMTMC-VideoReID

_LATEST_START = 40_000  # global frame before which every camera has begun to record
_FIRST_ARRIVAL = 50_000
_ARRIVALS = 90  # frames between two arrivals
_AREA = (90.0, 60.0)  # metres
_DETOUR = 8.0  # metres that a walk is longer than the straight line
_SPEED = (1.35, 0.12)  # metres per second, mean and standard deviation over persons
_TURN = 10.0  # seconds before a person walks back


@dataclass(frozen=True)
class Clock:
    """Time and place of the cameras.

    Attributes:
        camera_starts: per camera the global number (from 1) of its first frame:
            ``global = frame + camera_starts[camid] - 1``.
        sites: per camera its position in metres.
    """

    camera_starts: tuple[int, ...]
    sites: tuple[tuple[float, float], ...]

    def local(self, frame: int, camera: int) -> int:
        """The number of global frame ``frame`` in the video of ``camera``."""
        return frame - self.camera_starts[camera] + 1

    def distance(self, one: int, other: int) -> float:
        """Metres a person walks from one camera to another."""
        return math.dist(self.sites[one], self.sites[other]) + _DETOUR


def make_clock(knobs: WorldKnobs) -> Clock:
    """The clock of a world; camera 0 is the master, whose numbers are the global ones."""
    starts, sites = [], []
    for camera in range(knobs.cameras):
        rng = stream(knobs.seed, Purpose.CAMERA_SITE, camera)
        sites.append((float(rng.uniform(0, _AREA[0])), float(rng.uniform(0, _AREA[1]))))
        starts.append(1 if camera == 0 else int(rng.integers(2, _LATEST_START)))
    return Clock(tuple(starts), tuple(sites))


def timed_passages(knobs: WorldKnobs, clock: Clock, half: Half) -> Iterator[Passage]:
    """Passages of a population with frame numbers on the cameras' clocks, identity after identity, in order of time.

    The length of a passage is drawn from ``knobs.images_per_camera``. With ``knobs.passes`` > 1 a person turns round
    at the end of the route and walks it back.
    """
    for number in identities(knobs, half):
        rng = stream(knobs.seed, Purpose.SCHEDULE, half, number)
        speed = max(0.8, rng.normal(*_SPEED))
        now = _FIRST_ARRIVAL + number * _ARRIVALS + int(rng.integers(_ARRIVALS))
        route = _walkable(clock, cameras_of(knobs, half, number))
        repeats = knobs.passes if half in (Half.TRAIN, Half.TEST) else 1
        for repeat in range(repeats):
            for step, camera in enumerate(route):
                if step:
                    now += round(clock.distance(route[step - 1], camera) / speed * FRAME_RATE)
                images = int(rng.integers(knobs.images_per_camera[0], knobs.images_per_camera[1] + 1))
                times = [now + IMAGE_STRIDE * image for image in range(images)]
                frames = tuple(clock.local(time, camera) for time in times)
                yield Passage(half, number, camera, repeat, images, frames)
                now = times[-1]
            route = route[::-1]
            now += round(_TURN * FRAME_RATE)


def _walkable(clock: Clock, route: list[int]) -> list[int]:
    """The cameras of a route, each time the nearest one next."""
    path, left = route[:1], route[1:]
    while left:
        here = path[-1]
        path.append(min(left, key=lambda camera: clock.distance(here, camera)))
        left.remove(path[-1])
    return path
