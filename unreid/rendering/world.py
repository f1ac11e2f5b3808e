"""Who walks through which cameras: the list of passages of a world without a clock."""

from __future__ import annotations

from collections.abc import Iterator

from unreid.rendering.knobs import WorldKnobs
from unreid.rendering.scene import Passage
from unreid.rendering.seeding import Half, Purpose, stream


def cameras_of(knobs: WorldKnobs, half: Half, number: int) -> list[int]:
    """The cameras an identity is seen in, in the order of its route. Single-shot populations have one camera."""
    rng = stream(knobs.seed, Purpose.ROUTE, half, number)
    low, high = (min(limit, knobs.cameras) for limit in knobs.cameras_per_id)
    length = int(rng.integers(low, high + 1))
    route = [int(camera) for camera in rng.permutation(knobs.cameras)]
    return route[:1] if half in (Half.DISTRACTOR, Half.JUNK) else route[:length]


def identities(knobs: WorldKnobs, half: Half) -> range:
    """Numbers of the identities of a population."""
    sizes = {
        Half.TRAIN: knobs.train_ids,
        Half.TEST: knobs.test_ids,
        Half.DISTRACTOR: knobs.distractors,
        Half.JUNK: knobs.junk,
    }
    return range(sizes[half])


def passages(knobs: WorldKnobs, half: Half) -> Iterator[Passage]:
    """Passages of a population, identity after identity, cameras ascending."""
    single = half in (Half.DISTRACTOR, Half.JUNK)
    for number in identities(knobs, half):
        for camera in sorted(cameras_of(knobs, half, number)):
            for repeat in range(1 if single else knobs.passes):
                yield Passage(half, number, camera, repeat, 1 if single else knobs.images_per_camera[0])
