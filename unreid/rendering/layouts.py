"""The folder layouts of public datasets, filled with rendered pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from unreid.rendering.knobs import WorldKnobs
from unreid.rendering.plan import Plan, Roll, pid_of
from unreid.rendering.scene import Passage
from unreid.rendering.seeding import Half, Purpose, stream
from unreid.rendering.video_layouts import dukevideo, mars
from unreid.rendering.world import passages
from unreid.rendering.writer import render
from unreid.utils.errors import UserError

NameOf = Callable[[Passage, int, int], str]
"""(passage, index of the image, frame number) -> file name (or path below the split's folder)."""

_BOXES = ("bounding_box_train", "query", "bounding_box_test")
_VERI = ("image_train", "image_query", "image_test")


def image_plan(knobs: WorldKnobs, folders: tuple[str, str, str], name_of: NameOf) -> Plan:
    """A plan with one file an image.

    The first image of a test identity in a camera is a query; its other images, distractors and junk are gallery.

    Args:
        folders: of train, query and gallery.
        name_of: names the file of an image.

    Raises:
        UserError: fewer than two images per camera, which would leave the gallery without the queries' identities.
    """
    if knobs.images_per_camera[0] < 2:
        raise UserError("A rendered image set needs at least 2 images per identity and camera (query and gallery).")
    train, query, gallery = folders
    rolls = []
    for half in Half:
        for passage in passages(knobs, half):
            start = _first_frame(knobs, passage)
            places = [train if half is Half.TRAIN else gallery] * passage.images
            if half is Half.TEST and passage.repeat == 0:
                places[0] = query
            targets = ((f"{place}/{name_of(passage, i, start + 25 * i)}",) for i, place in enumerate(places))
            rolls.append(Roll(passage, tuple(targets)))
    return Plan(rolls)


def _without_strangers(knobs: WorldKnobs) -> WorldKnobs:
    """For sets that hold neither distractors nor junk, and whose names could not tell two of them apart."""
    return replace(knobs, distractors=0, junk=0)


def _first_frame(knobs: WorldKnobs, passage: Passage) -> int:
    """A frame number for the names of sets without a clock; those who share an identity get different ones."""
    if passage.half in (Half.DISTRACTOR, Half.JUNK):
        return passage.number
    return int(stream(knobs.seed, Purpose.FILE_NAMES, *passage.key).integers(0, 90_000))


def _shown(passage: Passage) -> str:
    pid = pid_of(passage)
    return "-1" if pid < 0 else f"{pid:04d}"


def _named(pattern: str, folders: tuple[str, str, str] = _BOXES) -> Callable[[WorldKnobs], Plan]:
    """A layout whose file names say identity, camera (from 1), frame and pass, and nothing else."""

    def plan(knobs: WorldKnobs) -> Plan:
        def name(passage: Passage, index: int, frame: int) -> str:
            camera = passage.camera + 1
            return pattern.format(pid=_shown(passage), camera=camera, frame=frame, repeat=passage.repeat)

        return image_plan(knobs, folders, name)

    return plan


market1501 = _named("{pid}_c{camera}s1_{frame:06d}_{repeat:02d}.jpg")
"""Market-1501: junk is -1, distractors are 0000."""


def personx(knobs: WorldKnobs) -> Plan:
    """PersonX: its six cameras are numbered 3, 4, 8, 10, 11 and 12."""
    numbers = (3, 4, 8, 10, 11, 12)
    if knobs.cameras > len(numbers):
        raise UserError(f"PersonX has {len(numbers)} cameras; its layout cannot hold {knobs.cameras}.")

    def name(passage: Passage, index: int, frame: int) -> str:
        return f"{_shown(passage)}_c{numbers[passage.camera]}s0_{frame:06d}.jpg"

    return image_plan(knobs, _BOXES, name)


def celebreid(knobs: WorldKnobs) -> Plan:
    """Celeb-reID: no cameras; names are identity, number of the image, 0."""

    def name(passage: Passage, index: int, frame: int) -> str:
        nth = (passage.camera * knobs.passes + passage.repeat) * knobs.images_per_camera[1] + index + 1
        return f"{pid_of(passage)}_{nth}_0.jpg"

    return image_plan(_without_strangers(knobs), ("train", "query", "gallery"), name)


def cuhk03np(knobs: WorldKnobs) -> Plan:
    """CUHK03-NP: two cameras, PNG files, the same pictures as detected and as labelled boxes."""
    if knobs.cameras > 2:
        raise UserError(f"CUHK03-NP has 2 cameras; its layout cannot hold {knobs.cameras}.")

    def name(passage: Passage, index: int, frame: int) -> str:
        nth = passage.repeat * knobs.images_per_camera[1] + index + 1
        return f"{_shown(passage)}_c{passage.camera + 1}_{nth}.png"

    plan = image_plan(_without_strangers(knobs), _BOXES, name)
    kinds = ("detected", "labeled")
    return Plan(
        [
            Roll(roll.passage, tuple(tuple(f"{kind}/{path}" for kind in kinds for path in t) for t in roll.targets))
            for roll in plan.rolls
        ]
    )


def _msmt17(knobs: WorldKnobs, train: str, test: str) -> Plan:
    """MSMT17 with its list files; the test identities restart at 0, as in the original."""

    def name(passage: Passage, index: int, frame: int) -> str:
        pid = passage.number
        nth = passage.repeat * knobs.images_per_camera[1] + index
        return f"{pid:04d}/{pid:04d}_{nth:03d}_{passage.camera + 1:02d}_0303morning_{frame:04d}_0.jpg"

    plan = image_plan(_without_strangers(knobs), ("list_train", "list_query", "list_gallery"), name)
    rolls = []
    lists: dict[str, list[str]] = {"list_train": [], "list_val": [], "list_query": [], "list_gallery": []}
    for roll in plan.rolls:
        paths = [target[0].partition("/") for target in roll.targets]
        for position, (listed, _, path) in enumerate(paths):
            held_out = listed == "list_train" and position == len(paths) - 1
            lists["list_val" if held_out else listed].append(f"{path} {roll.passage.number}\n")
        folder = train if roll.passage.half is Half.TRAIN else test
        rolls.append(Roll(roll.passage, tuple((f"{folder}/{path}",) for _, _, path in paths)))
    return Plan(rolls, {f"{listed}.txt": "".join(lines).encode() for listed, lines in lists.items()})


def msmt17_v1(knobs: WorldKnobs) -> Plan:
    """MSMT17, first release."""
    return _msmt17(knobs, "train", "test")


def msmt17_v2(knobs: WorldKnobs) -> Plan:
    """MSMT17, second release (blurred faces in the original)."""
    return _msmt17(knobs, "mask_train_v2", "mask_test_v2")


def image_folder(knobs: WorldKnobs) -> Plan:
    """Own crops: training files without identities, query and gallery in a folder an identity, camera in the name."""

    def name(passage: Passage, index: int, frame: int) -> str:
        if passage.half is Half.TRAIN:
            return f"cam{passage.camera + 1}_{frame:06d}_{passage.number:04d}{passage.repeat}.jpg"
        return f"{pid_of(passage):04d}/cam{passage.camera + 1}_{frame:06d}.jpg"

    return image_plan(replace(knobs, junk=0), ("train", "query", "gallery"), name)


@dataclass(frozen=True)
class Layout:
    """A layout and the name of the folder that its dataset is looked for in; None: named by the world's fingerprint."""

    plan: Callable[[WorldKnobs], Plan]
    folder: str | None
    cameras: int = 6
    passes: int = 1
    is_video: bool = False


LAYOUTS: dict[str, Layout] = {
    "market1501": Layout(market1501, "Market-1501-v15.09.15"),
    "dukemtmcreid": Layout(_named("{pid}_c{camera}_f{frame:07d}.jpg"), "DukeMTMC-reID"),
    "msmt17-v1": Layout(msmt17_v1, "MSMT17_V1"),
    "msmt17-v2": Layout(msmt17_v2, "MSMT17_V2"),
    "msmt17-market": Layout(_named("{pid}_c{camera}_{frame:06d}.jpg"), "MSMT17_V1"),
    "personx": Layout(personx, "PersonX"),
    "veri776": Layout(_named("{pid}_c{camera:03d}_{frame:08d}_0.jpg", _VERI), "VeRi"),
    "celebreid": Layout(celebreid, "Celeb-reID"),
    "cuhk03-np": Layout(cuhk03np, "cuhk03-np", cameras=2),
    "mars": Layout(mars, "MARS", passes=2, is_video=True),
    "dukevideo": Layout(dukevideo, "DukeMTMC-VideoReID", is_video=True),
    "synthetic": Layout(market1501, None),
    "folder": Layout(image_folder, "crops"),
}


def render_layout(
    layout: str,
    out: str | Path,
    *,
    ids: int = 8,
    cameras: int | None = None,
    images: int = 4,
    seed: int = 0,
    size: tuple[int, int] = (128, 64),
    workers: int | None = None,
) -> Path:
    """Writes a small rendered dataset in the layout of a public one.

    Args:
        layout: a name of :data:`LAYOUTS`.
        out: folder in which the dataset's folder is made, so ``out`` can serve as ``DATASETS.ROOT``.
        ids: training identities, and as many test identities.
        cameras: number of cameras; None: 6, or what the dataset has if that is less.
        images: images of an identity in a camera (video: of a tracklet).
        size: (height, width) in pixels.
        workers: rendering processes; None: as many as pay.

    Returns:
        The dataset's folder.

    Raises:
        UserError: unknown layout, a number the layout cannot hold, or a folder that cannot be written.
    """
    if layout not in LAYOUTS:
        raise UserError(f"There is no layout {layout!r}; there are {', '.join(LAYOUTS)}.")
    chosen = LAYOUTS[layout]
    count = chosen.cameras if cameras is None else cameras
    knobs = WorldKnobs(
        seed=seed,
        train_ids=ids,
        test_ids=ids,
        cameras=count,
        images_per_camera=(images, images),
        passes=chosen.passes,
        height=size[0],
        width=size[1],
    )
    if chosen.folder is not None:  # the synthetic set keeps its preset, so that its own config finds the folder
        few = max(1, ids // 4)
        knobs = replace(knobs, cameras_per_id=(min(2, count), count), distractors=few, junk=few)
    name = chosen.folder or f"synthetic-{knobs.fingerprint('market1501')}"
    recorded = "market1501" if chosen.folder is None else layout
    return render(knobs, chosen.plan(knobs), Path(out) / name, layout=recorded, workers=workers)
