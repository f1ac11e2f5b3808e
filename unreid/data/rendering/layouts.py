"""The folder layouts of public datasets, filled with rendered pictures."""

from __future__ import annotations

from collections.abc import Callable

from unreid.data.rendering.knobs import WorldKnobs
from unreid.data.rendering.plan import Plan, Roll, pid_of
from unreid.data.rendering.scene import Passage
from unreid.data.rendering.seeding import Half, Purpose, stream
from unreid.data.rendering.world import passages
from unreid.utils.errors import UserError

FileName = Callable[[Passage, int], str]


def is_query(passage: Passage, index: int) -> bool:
    """The first picture of a test identity in a camera is the query, the others are gallery."""
    return passage.half is Half.TEST and passage.repeat == 0 and index == 0


def first_frame(knobs: WorldKnobs, passage: Passage) -> int:
    """A frame number for the file names of sets without a clock."""
    if passage.half in (Half.DISTRACTOR, Half.JUNK):
        return passage.number  # unique, since all of them share one identity
    return int(stream(knobs.seed, Purpose.FILE_NAMES, *passage.key).integers(0, 90_000))


def image_plan(knobs: WorldKnobs, folders: tuple[str, str, str], name: Callable[[WorldKnobs], FileName]) -> Plan:
    """A plan of train, query and gallery folders with one file an image.

    Args:
        knobs: the world.
        folders: the three folders.
        name: makes the function (passage, index of the image) -> file name.

    Raises:
        UserError: fewer than two images per camera, which would leave the gallery without the queries' identities.
    """
    if knobs.images_per_camera[0] < 2:
        raise UserError("A rendered image set needs at least 2 images per identity and camera (query and gallery).")
    train, query, gallery = folders
    name_of = name(knobs)
    rolls = []
    for half in Half:
        for passage in passages(knobs, half):
            places = [
                train if half is Half.TRAIN else query if is_query(passage, index) else gallery
                for index in range(passage.images)
            ]
            targets = tuple((f"{place}/{name_of(passage, i)}",) for i, place in enumerate(places))
            rolls.append(Roll(passage, targets))
    return Plan(rolls)


def market1501(knobs: WorldKnobs) -> Plan:
    """Market-1501: junk is -1, distractors are 0000."""

    def names(world: WorldKnobs) -> FileName:
        def name(passage: Passage, index: int) -> str:
            pid, frame = pid_of(passage), first_frame(world, passage) + 25 * index
            shown = "-1" if pid < 0 else f"{pid:04d}"
            return f"{shown}_c{passage.camera + 1}s1_{frame:06d}_{passage.repeat:02d}.jpg"

        return name

    return image_plan(knobs, ("bounding_box_train", "query", "bounding_box_test"), names)


LAYOUTS: dict[str, Callable[[WorldKnobs], Plan]] = {"market1501": market1501}
