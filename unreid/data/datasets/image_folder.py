"""Own crops: any folder of images."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from unreid.data.datasets.base import DATASETS, ReIDDataset
from unreid.data.datasets.crop import UNKNOWN, Crop
from unreid.data.datasets.files import image_tree
from unreid.data.datasets.manifest import read_manifest
from unreid.data.datasets.names import camera_numbers, identity_numbers, say_lookalikes
from unreid.data.datasets.separation import trainable
from unreid.structures import Tracklet
from unreid.utils.errors import UserError
from unreid.utils.settings import settings

logger = logging.getLogger(__name__)


@DATASETS.register("ImageFolder", "folder")
class ImageFolder(ReIDDataset):
    """A folder of own crops, searched recursively; training needs no identities, testing is optional.

    Layout (the names of the three folders are arguments)::

        crops/
            train/**/*.jpg                               unlabelled
            query/<identity>/**/*.jpg                    optional, as is gallery/: without them nothing is evaluated
            gallery/<identity>/**/*.jpg

    The camera of an image comes from one of: a regular expression, searched in its path below the split's folder,
    whose first group is the camera; a CSV manifest (see :func:`~unreid.data.datasets.manifest.read_manifest`); or
    nothing, then all images count as one camera, the log says what that costs, and the gallery keeps images of the
    query's camera. Identities of query and gallery come from the manifest, from ``pid_regex`` in the same way, or are
    the name of the folder that holds the image; "7" and "07" are two of them, and the log says so. Training identities
    are known only from manifest or ``pid_regex``; they are used for diagnostics alone.

    Args:
        train, query, gallery: sub-folders of the splits, or absolute; images of query and gallery are left out of
            train, so that ``train="."`` is all of ``path`` but the other two.
        camera_regex: for example ``"cam(\\d+)"``; empty: one camera.
        pid_regex: empty: the parent folder's name.
        manifest: CSV file, absolute or below ``path``; replaces the folders and both expressions.
        strict: has no effect, there are no official counts.

    Raises:
        UserError: a folder is missing or has no image, an expression is not valid or matches nothing, or the manifest
            is wrong (with the number of its line).
    """

    name = "ImageFolder"

    def __init__(
        self,
        path: str | Path,
        *,
        train: str = "train",
        query: str = "query",
        gallery: str = "gallery",
        camera_regex: str = "",
        pid_regex: str = "",
        manifest: str = "",
        strict: bool = False,
    ) -> None:
        self.split_folders = {"train": train, "query": query, "gallery": gallery}
        self._camera_regex = _compiled("DATASETS.FOLDER.CAMERA_REGEX", camera_regex)
        self._pid_regex = _compiled("DATASETS.FOLDER.PID_REGEX", pid_regex)
        self._manifest = manifest
        super().__init__(path, strict=strict)
        if self._manifest:
            self.has_cameras = len({crop.camera for crop in self._listed}) > 1
            self.has_test = {"query", "gallery"} <= {crop.split for crop in self._listed}
        else:
            self.has_cameras = self._camera_regex is not None
            folders = [self.folder / self.split_folders[split] for split in ("query", "gallery")]
            self.has_test = all(map(os.path.isdir, folders))
        self.cross_camera_filter = self.has_cameras
        self._explain()

    @classmethod
    def from_config(cls, cfg: Any) -> Self:
        node = cfg.DATASETS.FOLDER
        parts = settings(node, "TRAIN", "QUERY", "GALLERY", "CAMERA_REGEX", "PID_REGEX", "MANIFEST")
        return cls(node.PATH or cfg.DATASETS.ROOT, strict=cfg.DATASETS.STRICT, **parts)

    def _locate(self) -> Path:
        if not os.path.isdir(self.root):
            raise UserError(f"The image folder {self.root} does not exist; set DATASETS.FOLDER.PATH.")
        train = self.root / self.split_folders["train"]
        if not self._manifest and not os.path.isdir(train):
            raise UserError(
                f"{train} does not exist: put the training crops there, or set DATASETS.FOLDER.TRAIN "
                f"('.' for {self.root} itself)."
            )
        return self.root

    def _explain(self) -> None:
        if not self.has_cameras:
            logger.warning(
                "ImageFolder: no camera labels, all images count as one camera. Samplers cannot mix cameras, parts "
                "that need cameras do without them or refuse to start, and evaluation does not leave out images of the "
                "query's camera. Set DATASETS.FOLDER.CAMERA_REGEX or MANIFEST if you know the cameras."
            )
        if not self.has_test:
            logger.warning("ImageFolder: %s has no query and gallery; evaluation is skipped.", self.folder)

    @cached_property
    def _listed(self) -> list[Crop]:
        return read_manifest(self.folder / self._manifest, self.folder, self.split_folders)

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        """Relative paths of all images below the folders that exist."""
        bases = {split: self.folder / name for split, name in self.split_folders.items()}
        return {split: image_tree(base, self.name) for split, base in bases.items() if os.path.isdir(base)}

    @cached_property
    def _crops(self) -> dict[str, list[Crop]]:
        """All crops by split: cameras are numbered over all of them, so they are listed together."""
        if self._manifest:
            return {split: [crop for crop in self._listed if crop.split == split] for split in self.split_folders}
        crops = {split: self._scan(split) for split in self._names}
        everyone = [crop for members in crops.values() for crop in members]
        say_lookalikes(self.name, "camera", {crop.camera for crop in everyone})
        say_lookalikes(self.name, "identity", {crop.pid for crop in everyone if crop.pid is not None})
        return crops

    def _test_files(self) -> list[str]:
        """All images below the test folders, whether their names fit or not, and also where only one folder exists."""
        if self._manifest:
            return [os.path.join(self.folder, crop.path) for crop in self._listed if crop.split != "train"]
        bases = ((self.folder / self.split_folders[split], split) for split in ("query", "gallery"))
        return [os.path.join(base, name) for base, split in bases for name in self._names.get(split, ())]

    @cached_property
    def _camera_numbers(self) -> dict[str, int]:
        return camera_numbers(crop.camera for crops in self._crops.values() for crop in crops)

    @cached_property
    def _identity_numbers(self) -> dict[str, int]:
        return identity_numbers(crop.pid for crops in self._crops.values() for crop in crops if crop.pid is not None)

    def _scan(self, split: str) -> list[Crop]:
        base = self.folder / self.split_folders[split]
        below = Path(self.split_folders[split]).as_posix()
        names = self._names[split]
        if split == "train":
            names = self._without_tests(base, names)
        crops: list[Crop] = []
        left_out: dict[str, list[str]] = {}
        for name in names:
            camera = _group(self._camera_regex, name, "")
            pid = _group(self._pid_regex, name, _parent(name) if split != "train" else None)
            if camera is None:
                left_out.setdefault("match no camera", []).append(name)
            elif pid is None and split != "train":
                left_out.setdefault("match no identity", []).append(name)
            elif pid == UNKNOWN and split != "train":
                left_out.setdefault("have the identity -1 (unknown)", []).append(name)
            else:
                path = name if below == "." else f"{below}/{name}"
                crops.append(Crop(path, camera, split, None if pid == UNKNOWN else pid))
        if not crops:
            sample = f"; one of them: {names[0]}" if names else ""
            raise UserError(
                f"ImageFolder: no usable image in {base} ({len(names)} files{sample}). Check the folder "
                "and DATASETS.FOLDER.CAMERA_REGEX / PID_REGEX, which are searched in the path below it."
            )
        for reason, files in left_out.items():
            text = "ImageFolder: %d images of %s %s and are left out (first: %s)"
            logger.warning(text, len(files), base, reason, files[0])
        if split != "train" and self._pid_regex is None:
            _say_same_folders(base, names)
        return crops

    def _without_tests(self, base: Path, names: list[str]) -> list[str]:
        """Before names are read: what the expressions find in the name of a test image depends on the folder."""
        records = [Tracklet((os.path.join(base, name),), 0, position) for position, name in enumerate(names)]
        tester = " and ".join(str(self.folder / self.split_folders[split]) for split in ("query", "gallery"))
        return [names[i] for i in trainable(records, self.held_out(), owner=self.name, tester=tester)]

    def _parse(self, split: str) -> tuple[list[Tracklet], list[int]]:
        if split != "train" and not self.has_test:
            raise UserError(f"ImageFolder: {self.folder} has no query and gallery to evaluate on.")
        crops = self._crops.get(split, [])
        if not crops:
            raise UserError(f"ImageFolder: the manifest {self._manifest} lists no image for {split}.")
        groups: dict[tuple[str, str], list[Crop]] = {}
        for crop in crops:
            own = ("image", crop.path) if crop.track is None else (f"track in {crop.camera}", crop.track)
            groups.setdefault(own, []).append(crop)
        for group in groups.values():
            group.sort(key=lambda crop: (-1 if crop.frame is None else crop.frame, crop.path))
        ordered = sorted(groups.values(), key=lambda group: group[0].path)
        tracklets = [self._tracklet(group, number) for number, group in enumerate(ordered)]
        return tracklets, [self._identity(group) for group in ordered]

    def _tracklet(self, group: Sequence[Crop], number: int) -> Tracklet:
        frames = [crop.frame for crop in group]
        return Tracklet(
            paths=tuple(os.path.join(self.folder, crop.path) for crop in group),
            camid=self._camera_numbers[group[0].camera],
            trackid=number,
            frames=None if None in frames else tuple(frame for frame in frames if frame is not None),
        )

    def _identity(self, group: Sequence[Crop]) -> int:
        """The identity of a tracklet, which some of its lines may leave open."""
        known = next((crop.pid for crop in group if crop.pid is not None), None)
        return -1 if known is None else self._identity_numbers[known]


def _parent(name: str) -> str | None:
    folder = name.rpartition("/")[0]
    return folder.rpartition("/")[2] or None


def _say_same_folders(base: Path, names: Iterable[str]) -> None:
    """Folders of one name at several places are one identity; that may be meant (a folder a camera above them)."""
    places: dict[str, set[str]] = {}
    for name in names:
        above, _, identity = name.rpartition("/")[0].rpartition("/")
        places.setdefault(identity, set()).add(above)
    several = {identity: sorted(found) for identity, found in places.items() if identity and len(found) > 1}
    if several:
        identity, found = next(iter(several.items()))
        logger.warning(
            "ImageFolder: %d identities of %s have folders at several places, such as %s; each is taken as one person, "
            "set DATASETS.FOLDER.PID_REGEX if they are not",
            len(several),
            base,
            " and ".join(f"{above}/{identity}".lstrip("/") for above in found[:2]),
        )


def _compiled(key: str, text: str) -> re.Pattern[str] | None:
    if not text:
        return None
    try:
        pattern = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(f"{key}: {text!r} is not a regular expression ({error}).") from error
    if not pattern.groups:
        raise UserError(f"{key}: {text!r} has no group; put what it should read into parentheses, as in 'cam(\\d+)'.")
    return pattern


def _group(pattern: re.Pattern[str] | None, name: str, default: str | None) -> str | None:
    """First group of the pattern in ``name``, ``default`` without a pattern, None without a match or an empty one."""
    if pattern is None:
        return default
    match = pattern.search(name)
    return (match[1] or None) if match else None
