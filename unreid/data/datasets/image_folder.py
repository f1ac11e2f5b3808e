"""Own crops: any folder of images."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from unreid.data.datasets.base import DATASETS, ReIDDataset
from unreid.data.datasets.files import image_tree
from unreid.data.datasets.manifest import Crop, read_manifest
from unreid.structures import Tracklet
from unreid.utils.errors import UserError

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
    the name of the folder that holds the image. Training identities are known only from manifest or ``pid_regex``;
    they are used for diagnostics alone.

    Args:
        path: the folder.
        train, query, gallery: sub-folders of the splits; ``train="."``: all of ``path`` but the other two.
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
        self.has_cameras = self.cross_camera_filter = self._find_cameras()
        self.has_test = self._find_test()
        self._explain()

    @classmethod
    def from_config(cls, cfg: Any) -> Self:
        """The folder that ``cfg.DATASETS.FOLDER`` describes."""
        node = cfg.DATASETS.FOLDER
        return cls(
            node.PATH or cfg.DATASETS.ROOT,
            train=node.TRAIN,
            query=node.QUERY,
            gallery=node.GALLERY,
            camera_regex=node.CAMERA_REGEX,
            pid_regex=node.PID_REGEX,
            manifest=node.MANIFEST,
            strict=cfg.DATASETS.STRICT,
        )

    def _locate(self) -> Path:
        if not self.root.is_dir():
            raise UserError(f"The image folder {self.root} does not exist; set DATASETS.FOLDER.PATH.")
        train = self.root / self.split_folders["train"]
        if not self._manifest and not train.is_dir():
            raise UserError(
                f"{train} does not exist: put the training crops there, or set DATASETS.FOLDER.TRAIN "
                f"('.' for {self.root} itself)."
            )
        return self.root

    def _find_cameras(self) -> bool:
        if self._manifest:
            return len({crop.camera for crop in self._listed}) > 1
        return self._camera_regex is not None

    def _find_test(self) -> bool:
        if self._manifest:
            return {"query", "gallery"} <= {crop.split for crop in self._listed}
        return all((self.folder / self.split_folders[split]).is_dir() for split in ("query", "gallery"))

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
    def _crops(self) -> dict[str, list[Crop]]:
        """All crops by split: cameras are numbered over all of them, so they are listed together."""
        if self._manifest:
            return {split: [crop for crop in self._listed if crop.split == split] for split in self.split_folders}
        return {split: self._scan(split) for split in self.split_folders if self._has(split)}

    def _has(self, split: str) -> bool:
        return (self.folder / self.split_folders[split]).is_dir()

    @cached_property
    def _camera_numbers(self) -> dict[str, int]:
        return _numbered(crop.camera for crops in self._crops.values() for crop in crops)

    @cached_property
    def _identity_numbers(self) -> dict[str, int]:
        texts = {crop.pid for crops in self._crops.values() for crop in crops if crop.pid is not None}
        if all(re.fullmatch(r"-?\d+", text) for text in texts):
            return {text: int(text) for text in texts}
        return {text: number + 1 for text, number in _numbered(texts).items()}

    def _scan(self, split: str) -> list[Crop]:
        base = self.split_folders[split]
        names = image_tree(self.folder / base, self.name)
        if Path(base) == Path("."):
            others = tuple(f"{name}/" for name in self.split_folders.values() if Path(name) != Path("."))
            names = [name for name in names if not name.startswith(others)]
        crops = []
        for name in names:
            camera = _group(self._camera_regex, name, "")
            pid = _group(self._pid_regex, name, self._parent(name) if split != "train" else None)
            if camera is not None and (pid is not None or split == "train"):
                crops.append(Crop((Path(base) / name).as_posix(), camera, split, pid))
        if not crops:
            sample = f"; one of them: {names[0]}" if names else ""
            raise UserError(
                f"ImageFolder: no usable image in {self.folder / base} ({len(names)} files{sample}). Check the folder "
                "and DATASETS.FOLDER.CAMERA_REGEX / PID_REGEX, which are searched in the path below it."
            )
        if len(crops) < len(names):
            left = len(names) - len(crops)
            logger.warning("ImageFolder: %d images of %s match no camera or identity", left, self.folder / base)
        return crops

    @staticmethod
    def _parent(name: str) -> str | None:
        folder = name.rpartition("/")[0]
        return folder.rpartition("/")[2] or None

    def _parse(self, split: str) -> tuple[list[Tracklet], list[int]]:
        if split != "train" and not self.has_test:
            raise UserError(f"ImageFolder: {self.folder} has no query and gallery to evaluate on.")
        crops = self._crops.get(split, [])
        if not crops:
            raise UserError(f"ImageFolder: the manifest lists no image for {split}.")
        groups: dict[tuple[str, str], list[Crop]] = {}
        for crop in crops:
            own = ("image", crop.path) if crop.track is None else (f"track in {crop.camera}", crop.track)
            groups.setdefault(own, []).append(crop)
        ordered = sorted((_in_time(group) for group in groups.values()), key=lambda group: group[0].path)
        tracklets = [self._tracklet(group, number) for number, group in enumerate(ordered)]
        return tracklets, [self._identity(group[0]) for group in ordered]

    def _tracklet(self, group: Sequence[Crop], number: int) -> Tracklet:
        frames = [crop.frame for crop in group]
        return Tracklet(
            paths=tuple(str(self.folder / crop.path) for crop in group),
            camid=self._camera_numbers[group[0].camera],
            trackid=number,
            frames=None if None in frames else tuple(frame for frame in frames if frame is not None),
        )

    def _identity(self, crop: Crop) -> int:
        return -1 if crop.pid is None else self._identity_numbers[crop.pid]


def _in_time(group: list[Crop]) -> list[Crop]:
    return sorted(group, key=lambda crop: (-1 if crop.frame is None else crop.frame, crop.path))


def _numbered(texts: Iterable[str]) -> dict[str, int]:
    """Texts -> 0, 1, ... in natural order ("cam2" before "cam10")."""

    def natural(text: str) -> list[tuple[int, int, str]]:
        parts = re.split(r"(\d+)", text)
        return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]

    return {text: number for number, text in enumerate(sorted(set(texts), key=natural))}


def _compiled(key: str, text: str) -> re.Pattern[str] | None:
    if not text:
        return None
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UserError(f"{key}: {text!r} is not a regular expression ({error}).") from error
    if not pattern.groups:
        raise UserError(f"{key}: {text!r} has no group; put what it should read into parentheses, as in 'cam(\\d+)'.")
    return pattern


def _group(pattern: re.Pattern[str] | None, name: str, default: str | None) -> str | None:
    """First group of the pattern in ``name``, ``default`` without a pattern, None without a match."""
    if pattern is None:
        return default
    match = pattern.search(name)
    return match[1] if match else None
