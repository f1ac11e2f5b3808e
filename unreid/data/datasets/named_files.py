"""Image sets whose file names hold identity and camera: the parser that most of them share."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from unreid.data.datasets.base import ReIDDataset
from unreid.data.datasets.files import image_names
from unreid.structures import Tracklet
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)


class NamedFilesDataset(ReIDDataset):
    """One folder a split, one image a file; :attr:`pattern` is matched at the start of the file *name*.

    The folders above the file take no part in the match, so a root such as ``12_c3`` cannot be read as a camera.
    Files with other names are counted and reported once per split.
    """

    split_folders: ClassVar[Mapping[str, str]] = {
        "train": "bounding_box_train",
        "query": "query",
        "gallery": "bounding_box_test",
    }
    pattern: ClassVar[re.Pattern[str]] = re.compile(r"(?P<pid>-?\d+)_c(?P<cam>\d+)")
    example: ClassVar[str] = "0002_c1s1_000451_03.jpg"
    junk: ClassVar[frozenset[int]] = frozenset({-1})

    def split_folder(self, split: str) -> Path:
        """Folder that holds the images of a split."""
        return self.folder / self.split_folders[split]

    def camera(self, text: str) -> int | None:
        """0-based camera from the ``cam`` group, or None when the dataset has no such camera."""
        return int(text) - 1 if int(text) >= 1 else None

    def identity(self, match: re.Match[str]) -> int:
        """Raw identity of a matched name."""
        return int(match["pid"])

    def _parse(self, split: str) -> tuple[list[Tracklet], list[int]]:
        folder = self.split_folder(split)
        names = image_names(folder, self.name)
        tracklets: list[Tracklet] = []
        pids: list[int] = []
        strangers: list[str] = []
        junk = 0
        for name in names:
            match = self.pattern.match(name)
            camid = self.camera(match["cam"]) if match else None
            if match is None or camid is None:
                strangers.append(name)
            elif self.identity(match) in self.junk:
                junk += 1
            else:
                tracklets.append(Tracklet((str(folder / name),), camid, len(tracklets)))
                pids.append(self.identity(match))
        if not tracklets:
            raise UserError(
                f"{self.name}: {folder} has no image with a name like {self.example} "
                f"({len(names)} images in all, {junk} of them junk)."
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
        return tracklets, pids
