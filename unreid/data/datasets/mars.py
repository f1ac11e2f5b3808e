"""MARS."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from unreid.data.datasets.base import DATASETS, ReIDDataset
from unreid.data.datasets.files import ImageListing
from unreid.data.datasets.statistics import Counts
from unreid.structures import Tracklet
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)

_JUNK = -1


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
        """The dataset with the info folder that ``cfg.DATASETS.MARS_INFO`` names."""
        return cls(cfg.DATASETS.ROOT, strict=cfg.DATASETS.STRICT, info=cfg.DATASETS.MARS_INFO)

    def _parse(self, split: str) -> tuple[list[Tracklet], list[int]]:
        part = "train" if split == "train" else "test"
        table_file = self.folder / self.info / f"tracks_{part}_info.mat"
        names = (self.folder / self.info / f"{part}_name.txt").read_text(encoding="utf-8").split()
        table = _matrix(table_file, f"track_{part}_info")
        if table.ndim != 2 or table.shape[1] != 4:
            raise UserError(f"{table_file}: expected four columns, found a table of shape {table.shape}.")
        images = self.folder / f"bbox_{part}"
        listing = ImageListing()
        present = {folder: set(listing.names(images / folder)) for folder in listing.folders(images)}
        listing.log(self.name, images)
        tracklets: list[Tracklet] = []
        pids: list[int] = []
        missing = lost = 0
        for row in self._rows(split, len(table)):
            members = _members(names, table[row].tolist(), table_file, int(row))
            pid, camera = int(table[row, 2]), int(table[row, 3])
            if pid == _JUNK:
                continue
            paths = tuple(str(images / name[:4] / name) for name in members if name in present.get(name[:4], ()))
            lost += len(members) - len(paths)
            if not paths:
                missing += 1
                continue
            tracklets.append(Tracklet(paths, camera - 1, int(row)))
            pids.append(pid)
        if not tracklets:
            raise UserError(f"MARS: {images} has none of the folders that {table_file.name} speaks of.")
        if lost:
            logger.warning("MARS: %d listed images are not in %s", lost, images)
        if missing:
            logger.warning("MARS: %d tracklets were left out, none of their images is there", missing)
        return tracklets, pids

    def _rows(self, split: str, total: int) -> np.ndarray:
        """Rows of the table that belong to the split."""
        if split == "train":
            return np.arange(total)
        file = self.folder / self.info / "query_IDX.mat"
        queries = _matrix(file, "query_IDX").ravel() - 1
        if len(queries) and not 0 <= queries.min() <= queries.max() < total:
            raise UserError(f"{file} names rows beyond the {total} rows of the test table.")
        return queries if split == "query" else np.setdiff1d(np.arange(total), queries)


def _matrix(path: Path, variable: str) -> np.ndarray:
    """An integer matrix from a MATLAB file; raises :class:`UserError` if it is not there."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        return np.asarray(loadmat(path)[variable]).astype(np.int64)
    except KeyError:
        raise UserError(f"{path} has no variable {variable!r}.") from None
    except (OSError, ValueError, TypeError, IndexError, NotImplementedError, MatReadError) as error:
        raise UserError(f"{path} cannot be read as a MATLAB 5 file: {error}.") from error


def _members(names: list[str], row: list[int], table: Path, index: int) -> list[str]:
    """Image names of one table row, checked: one identity and one camera."""
    first, last = row[:2]
    members = names[first - 1 : last]
    if first < 1 or last > len(names) or not members:
        raise UserError(f"{table}, row {index + 1}: images {first} to {last} are not among the {len(names)} names.")
    if len({name[:6] for name in members}) != 1:
        raise UserError(f"{table}, row {index + 1}: images {first} to {last} belong to several identities or cameras.")
    return members
