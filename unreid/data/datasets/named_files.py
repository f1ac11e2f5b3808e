"""Image sets whose file names hold identity and camera: the parser that most of them share."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

from unreid.data.datasets.base import SPLITS, ReIDDataset
from unreid.data.datasets.files import image_names
from unreid.data.datasets.names import say_spellings
from unreid.structures import Tracklet
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)

LARGEST_IDENTITY = 2**63 - 1
LARGEST_CAMERA = 9_999  # tables are as long as the largest camera number


class NamedFile(NamedTuple):
    """An image whose name fits; ``pid`` and ``camera`` are the numbers in it."""

    name: str
    pid: int
    camera: int


class _Listing(NamedTuple):
    """A split's folder: all images, those whose names fit, the number of junk images, and names that do not fit."""

    names: list[str]
    files: list[NamedFile]
    junk: int
    strangers: list[str]


class NamedFilesDataset(ReIDDataset):
    """One folder a split, one image a file; :attr:`pattern` is matched at the start of the file *name*.

    The folders above the file take no part in the match, so a root such as ``12_c3`` cannot be read as a camera.
    Files with other names are counted and reported once per split.

    Cameras are numbered by :meth:`number_cameras` over all splits, so their three folders are listed together.
    """

    split_folders: ClassVar[Mapping[str, str]] = {
        "train": "bounding_box_train",
        "query": "query",
        "gallery": "bounding_box_test",
    }
    pattern: ClassVar[re.Pattern[str]] = re.compile(r"(?P<pid>-?\d+)_c(?P<cam>\d+)", re.ASCII)
    example: ClassVar[str] = "0002_c1s1_000451_03.jpg"
    junk: ClassVar[frozenset[int]] = frozenset({-1})

    def split_folder(self, split: str) -> Path:
        """Folder that holds the images of a split."""
        return self.folder / self.split_folders[split]

    def number_cameras(self, found: Mapping[int, str]) -> dict[int, int]:
        """0-based camera of every camera number in the names of all splits.

        Args:
            found: camera number -> a file that has it.
        """
        return count_from(self.name, found)

    def identity(self, match: re.Match[str]) -> int:
        """Raw identity of a matched name."""
        return int(match["pid"])

    @cached_property
    def _listings(self) -> dict[str, _Listing]:
        """All splits by name, with two spellings of one number told once."""
        cameras: dict[int, set[str]] = {}
        listings = {}
        for half in (("train",), ("query", "gallery")):  # training identities have nothing to do with those of the test
            identities: dict[int, set[str]] = {}
            for split in half:
                listings[split] = self._list(split, identities, cameras)
            say_spellings(self.name, "identity", identities)
        say_spellings(self.name, "camera", cameras)
        return listings

    def _list(self, split: str, identities: dict[int, set[str]], cameras: dict[int, set[str]]) -> _Listing:
        folder = self.split_folder(split)
        listing = _Listing(image_names(folder, self.name), [], 0, [])
        junk = 0
        for name in listing.names:
            match = self.pattern.match(name)
            pid = self.identity(match) if match else -1
            if match and pid in self.junk:
                junk += 1
            elif match is None or pid < 0:
                listing.strangers.append(name)
            else:
                file = NamedFile(name, pid, int(match["cam"]))
                check_numbers(self.name, os.path.join(folder, name), pid=file.pid, camera=file.camera)
                identities.setdefault(pid, set()).add(match["pid"])
                cameras.setdefault(file.camera, set()).add(match["cam"])
                listing.files.append(file)
        return listing._replace(junk=junk)

    @cached_property
    def _cameras(self) -> dict[int, int]:
        return self.number_cameras(self._camera_examples())

    def _camera_examples(self) -> dict[int, str]:
        """Every camera number of the three splits, with a file that has it."""
        found: dict[int, str] = {}
        for split in SPLITS:
            folder = self.split_folder(split)
            for file in self._listings[split].files:
                found.setdefault(file.camera, os.path.join(folder, file.name))
        return found

    def _test_files(self) -> list[str]:
        """Junk and files with other names are not trained on either."""
        splits = {split: self.split_folder(split) for split in ("query", "gallery")}
        present = [(split, folder) for split, folder in splits.items() if os.path.isdir(folder)]
        return [os.path.join(folder, name) for split, folder in present for name in self._listings[split].names]

    def _parse(self, split: str) -> tuple[list[Tracklet], list[int]]:
        folder = self.split_folder(split)
        names, files, junk, strangers = self._listings[split]
        if not files:
            other = f"; another name: {strangers[0]}" if strangers else ""
            raise UserError(
                f"{self.name}: {folder} has no image with a name like {self.example} "
                f"({len(names)} images in all, {junk} of them junk{other})."
            )
        if strangers:
            logger.warning(
                "%s: %d files in %s were left out, their names are not like %s (first: %s)",
                self.name,
                len(strangers),
                folder,
                self.example,
                strangers[0],
            )
        tracklets = [
            Tracklet((os.path.join(folder, file.name),), self._cameras[file.camera], position)
            for position, file in enumerate(files)
        ]
        return tracklets, [file.pid for file in files]


def count_from(owner: str, found: Mapping[int, str]) -> dict[int, int]:
    """Camera number -> 0-based camera: sets count from 1, but nothing is lost of copies that count from 0."""
    if 0 in found:
        logger.warning("%s: cameras are counted from 0 (%s), so camera n is number n here, not n - 1", owner, found[0])
    return {number: number if 0 in found else number - 1 for number in found}


def check_numbers(owner: str, where: str, *, pid: int = 0, camera: int = 0) -> None:
    """Raises :class:`UserError` for numbers that no record can hold."""
    if pid > LARGEST_IDENTITY:
        raise UserError(
            f"{owner}: the identity {pid} of {where} is not below 2**63; read such names with ImageFolder, which "
            "numbers them."
        )
    if camera > LARGEST_CAMERA:
        raise UserError(
            f"{owner}: the camera {camera} of {where} is above {LARGEST_CAMERA:,}; read such names with ImageFolder, "
            "which numbers them."
        )
