"""MARS."""

from __future__ import annotations

import logging
import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from unreid.data.datasets.base import DATASETS, ReIDDataset
from unreid.data.datasets.files import ImageListing
from unreid.data.datasets.mat_file import read_matrix
from unreid.data.datasets.named_files import check_numbers, count_from
from unreid.data.datasets.statistics import Counts
from unreid.structures import Tracklet
from unreid.utils.errors import UserError
from unreid.utils.text import read_text

logger = logging.getLogger(__name__)

_JUNK = -1
_NAME = re.compile(r"(?P<pid>[0-9]{4})C(?P<cam>[0-9])T")


@DATASETS.register("MARS")
class MARS(ReIDDataset):
    """MARS: 1,261 pedestrians of the Market-1501 site as automatically tracked tracklets, six cameras.

    Citation: Zheng et al., MARS: A Video Benchmark for Large-Scale Person Re-Identification, ECCV 2016.
    Home page: https://zheng-lab.cecs.anu.edu.au/Project/project_mars.html

    Layout::

        MARS/
            bbox_train/0001/0001C1T0001F001.jpg          folder = first 4 characters; camera 1, tracklet 1, image 1
            bbox_test/...                                00-1 junk (dropped), 0000 distractors (kept in the gallery)
            info/train_name.txt, test_name.txt           one image name a line
            info/tracks_train_info.mat                   track_train_info: first line, last line, identity, camera
            info/tracks_test_info.mat                    track_test_info (lines count from 1, the last one included)
            info/query_IDX.mat                           query_IDX: rows of the test table, from 1

    The info files come with the evaluation code (https://github.com/liangzheng06/MARS-evaluation). The gallery is
    every other row of the test table. Names hold no absolute time: constraints on time cannot be mined.
    Identities / tracklets / cameras: train 625 / 8,298 / 6; query 626 / 1,980 / 6; gallery 622 / 9,330 / 6 (of 12,180
    test tracklets).

    Args:
        root, strict: see :class:`~unreid.data.datasets.base.ReIDDataset`.
        info: folder of the lists and tables, absolute or inside the dataset's folder.

    Raises:
        UserError: a file is missing, not readable or contradicts itself.
    """

    name = "MARS"
    folders: tuple[str, ...] = ("MARS", "mars")
    official: ClassVar = {
        "train": (Counts(625, 8_298, 6),),
        "query": (Counts(626, 1_980, 6),),
        "gallery": (Counts(622, 9_330, 6),),
    }

    def __init__(self, root: str | Path, *, strict: bool = False, info: str = "info") -> None:
        self.info = info
        files = ("train_name.txt", "test_name.txt", "tracks_train_info.mat", "tracks_test_info.mat", "query_IDX.mat")
        self.required = ("bbox_train", "bbox_test", *(str(Path(info) / file) for file in files))
        super().__init__(root, strict=strict)

    @classmethod
    def from_config(cls, cfg: Any) -> Self:
        return cls(cfg.DATASETS.ROOT, strict=cfg.DATASETS.STRICT, info=cfg.DATASETS.MARS_INFO)

    def _parse(self, split: str) -> tuple[list[Tracklet], list[int]]:
        part = "train" if split == "train" else "test"
        table_file = self.folder / self.info / f"tracks_{part}_info.mat"
        names = read_text(self.folder / self.info / f"{part}_name.txt").split()
        table = self._tables[part]
        images = self.folder / f"bbox_{part}"
        listing = ImageListing()
        present = {folder: set(listing.names(images / folder)) for folder in listing.folders(images)}
        listing.log(self.name, images)
        tracklets: list[Tracklet] = []
        pids: list[int] = []
        missing = []
        contradictions = []
        lost = 0
        for row in self._rows(split, len(table)):
            members = _members(names, table[row].tolist(), table_file, int(row))
            pid, camera = int(table[row, 2]), int(table[row, 3])
            if pid == _JUNK:
                continue
            paths = tuple(os.path.join(images, n[:4], n) for n in members if n in present.get(n[:4], ()))
            lost += len(members) - len(paths)
            if not paths:
                missing.append(members[0])
                continue
            if not _agree(members[0], pid, camera):
                contradictions.append(f"{members[0]}: {pid}, {camera}")
            tracklets.append(Tracklet(paths, self._cameras[camera], int(row)))
            pids.append(pid)
        if not tracklets:
            raise UserError(f"MARS: {images} has none of the folders that {table_file.name} speaks of.")
        if lost:
            logger.warning("MARS: %d listed images are not in %s", lost, images)
        if missing:
            text = "MARS: %d tracklets were left out, none of their images is in %s (first: %s)"
            logger.warning(text, len(missing), images, missing[0])
        if contradictions:
            logger.warning(
                "MARS: %d tracklets of %s have another identity or camera in their names than in the table, which is "
                "believed (first: %s)",
                len(contradictions),
                table_file,
                contradictions[0],
            )
        return tracklets, pids

    @cached_property
    def _tables(self) -> dict[str, np.ndarray]:
        """int64 (rows, 4) of both parts, checked: cameras are numbered over both."""
        tables = {}
        for part in ("train", "test"):
            file = self.folder / self.info / f"tracks_{part}_info.mat"
            table = tables[part] = _matrix(file, f"track_{part}_info")
            if table.ndim != 2 or table.shape[1] != 4:
                raise UserError(f"{file}: expected four columns, found a table of shape {table.shape}.")
            for name, column, least in (("identity", 2, _JUNK), ("camera", 3, 0)):
                wrong = np.flatnonzero((table[:, column] < least) & (table[:, 2] != _JUNK))
                if len(wrong):
                    raise UserError(f"{file}, row {wrong[0] + 1}: the {name} is {table[wrong[0], column]}.")
        return tables

    @cached_property
    def _cameras(self) -> dict[int, int]:
        found: dict[int, str] = {}
        for part, table in self._tables.items():
            for row, camera in enumerate(table[:, 3].tolist()):
                if table[row, 2] != _JUNK and camera not in found:
                    found[camera] = f"row {row + 1} of tracks_{part}_info.mat"
                    check_numbers("MARS", found[camera], camera=camera)
        return count_from("MARS", found)

    def _rows(self, split: str, total: int) -> np.ndarray:
        """Rows of the table that belong to the split."""
        if split == "train":
            return np.arange(total)
        file = self.folder / self.info / "query_IDX.mat"
        queries = _matrix(file, "query_IDX").ravel() - 1
        if len(queries) and not 0 <= queries.min() <= queries.max() < total:
            raise UserError(f"{file} names rows beyond the {total} rows of the test table.")
        once = np.array(list(dict.fromkeys(queries.tolist())), dtype=np.int64)
        if len(once) < len(queries) and split == "query":
            logger.warning("MARS: %s names %d rows more than once; they count once", file, len(queries) - len(once))
        queries = once
        return queries if split == "query" else np.setdiff1d(np.arange(total), queries)


def _matrix(path: Path, variable: str) -> np.ndarray:
    """An integer matrix from a MATLAB file; raises :class:`UserError` if it is not there."""
    try:
        return read_matrix(path, variable)
    except KeyError:
        raise UserError(f"{path} has no variable {variable!r}.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a MATLAB 5 file: {error}.") from error


def _agree(name: str, pid: int, camera: int) -> bool:
    """The image name, such as 0001C1T0001F001.jpg, says the same as the table, as far as it can be read."""
    found = _NAME.match(name)
    return found is None or (int(found["pid"]), int(found["cam"])) == (pid, camera)


def _members(names: list[str], row: list[int], table: Path, index: int) -> list[str]:
    """Image names of one table row, checked: one identity and one camera."""
    first, last = row[:2]
    members = names[first - 1 : last]
    if first < 1 or last > len(names) or not members:
        raise UserError(f"{table}, row {index + 1}: images {first} to {last} are not among the {len(names)} names.")
    if len({name[:6] for name in members}) != 1:
        raise UserError(f"{table}, row {index + 1}: images {first} to {last} belong to several identities or cameras.")
    return members
