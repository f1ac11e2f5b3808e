"""What every dataset is: three lazily parsed splits, checked against the published statistics."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from unreid.data.datasets.same_files import FileIndex
from unreid.data.datasets.separation import trainable
from unreid.data.datasets.statistics import Counts, closest, count, table
from unreid.structures import GroundTruth, Tracklet, camids_of
from unreid.utils.errors import UserError
from unreid.utils.registry import Registry

logger = logging.getLogger(__name__)

SPLITS = ("train", "query", "gallery")


@dataclass(frozen=True)
class Split:
    """Records of one split, in order of relative path, with their identities beside them.

    Attributes:
        tracklets: N records; they hold no identity.
        truth: their identities, ``truth.pids[i]`` belongs to ``tracklets[i]``; raw ids of the dataset, -1 where the
            identity is unknown.
    """

    tracklets: list[Tracklet]
    truth: GroundTruth

    def __len__(self) -> int:
        return len(self.tracklets)

    @property
    def camids(self) -> np.ndarray:
        """int64 (N,), cameras from 0."""
        return camids_of(self.tracklets)


class ReIDDataset(ABC):
    """A re-identification dataset on disk.

    Nothing is parsed before it is asked for: ``dataset.query`` opens no training image. A subclass says where its
    folders are, parses one split at a time, and states its protocol and the published counts as class data. The
    docstring of a subclass carries the citation, the home page and the layout.

    No test image is trained on: a training record that shares a file with query or gallery, under whatever name, is
    left out, and the log says how many are.

    Args:
        root: folder that holds the dataset's folder (one of :attr:`folders`), or that folder itself.
        strict: refuse a split whose counts differ from the published ones; otherwise a warning names the difference.

    Raises:
        UserError: a required folder is missing, or (when a split is read) it holds no usable file, or ``strict`` and
            the counts differ, or all training images are test images.

    Attributes:
        folder: the dataset's folder that was found.
        camera_starts: per camera the global frame number of its first video frame, so that
            ``global = frame + camera_starts[camid] - 1``; None when the cameras share no known clock.
        frame_rate: frames per second of that clock, or None.
        has_test: the dataset can be evaluated (query and gallery exist).
        has_cameras: camera labels are real; without them cross-camera parts cannot work.
    """

    name: ClassVar[str]
    folders: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    official: ClassVar[Mapping[str, tuple[Counts, ...]]] = {}
    notice: ClassVar[str] = ""
    cross_camera_filter: bool = True
    single_gallery_shot: bool = False
    has_cameras: bool = True
    has_test: bool = True
    camera_starts: tuple[int, ...] | None = None
    frame_rate: float | None = None

    def __init__(self, root: str | Path, *, strict: bool = False) -> None:
        self.root = Path(root)
        self.strict = strict
        self.folder = self._locate().resolve()
        if self.notice:
            logger.warning("%s: %s", self.name, self.notice)

    @classmethod
    def from_config(cls, cfg: Any) -> Self:
        """The dataset that ``cfg.DATASETS`` describes."""
        return cls(cfg.DATASETS.ROOT, strict=cfg.DATASETS.STRICT)

    @cached_property
    def train(self) -> Split:
        """Training records, none of them a test image.

        Methods see them only through :func:`~unreid.data.datasets.train_view.train_view`.
        """
        return self._load("train")

    @cached_property
    def query(self) -> Split:
        """Query records."""
        return self._load("query")

    @cached_property
    def gallery(self) -> Split:
        """Gallery records: junk left out, distractors (id 0) kept."""
        return self._load("gallery")

    def held_out(self) -> FileIndex:
        """The files of query and gallery, which are never trained on. Built anew: a large set's index is large."""
        return FileIndex(self._test_files())

    def statistics(self) -> dict[str, Counts]:
        """Counts of every split the dataset has; parses them all."""
        splits = SPLITS if self.has_test else SPLITS[:1]
        return {name: self._count(getattr(self, name)) for name in splits}

    def log_statistics(self) -> None:
        """Writes the table of :meth:`statistics` to the log."""
        logger.info("%s", table(f"{self.name} ({self.folder})", self.statistics()))

    @abstractmethod
    def _parse(self, split: str) -> tuple[list[Tracklet], list[int]]:
        """Records of ``split`` ("train", "query" or "gallery") in order of relative path, and their raw identities."""

    def _test_files(self) -> list[str]:
        """Paths of all images that are kept for the test."""
        files: list[str] = []
        for split in ("query", "gallery") if self.has_test else ():
            try:
                files += (path for tracklet in getattr(self, split).tracklets for path in tracklet.paths)
            except UserError as error:  # training is possible all the same; the test will say it again
                logger.warning("nothing of the %s of %s is kept out of training: %s", split, self.name, error)
        return files

    def _locate(self) -> Path:
        """The dataset's folder below (or at) the root; raises :class:`UserError` naming what is missing."""
        for candidate in (*(self.root / name for name in self.folders), self.root):
            if os.path.isdir(candidate) and all(os.path.exists(candidate / part) for part in self.required):
                return candidate
        expected = f"{self.folders[0]}/ with {', '.join(self.required)}" if self.folders else ", ".join(self.required)
        for name in self.folders:
            if os.path.isdir(self.root / name):
                lacking = [part for part in self.required if not os.path.exists(self.root / name / part)]
                raise UserError(f"{self.name}: {self.root / name} lacks {', '.join(lacking)}; expected {expected}.")
        where = self.root.absolute()
        raise UserError(f"{self.name} was not found in {where}: set DATASETS.ROOT to the folder that holds {expected}.")

    def _count(self, split: Split) -> Counts:
        found = count(split.tracklets, split.truth)
        return found if self.has_cameras else Counts(found.ids, found.tracklets, None, found.images)

    def _expected(self, split: str) -> tuple[Counts, ...]:
        """The published counts of a split; several where several versions circulate, empty when there are none."""
        return self.official.get(split, ())

    def _load(self, name: str) -> Split:
        if name not in SPLITS:
            raise ValueError(f"no split {name!r}")
        tracklets, pids = self._parse(name)
        _check_records(f"{self.name} {name} in {self.folder}", tracklets, pids, known=name != "train")
        if name == "train":
            kept = trainable(tracklets, self.held_out(), owner=self.name, tester=str(self.folder))
            tracklets, pids = [tracklets[i] for i in kept], [pids[i] for i in kept]
        split = Split(tracklets, GroundTruth(np.asarray(pids, dtype=np.int64)))
        found = closest(self._count(split), self._expected(name))
        if found:
            message = f"{self.name} {name} in {self.folder} is not the official set: {', '.join(found)}."
            if self.strict:
                raise UserError(f"{message} Complete the copy, or set DATASETS.STRICT False to use it as it is.")
            logger.warning("%s", message)
        return split


def _check_records(where: str, tracklets: list[Tracklet], pids: list[int], *, known: bool) -> None:
    """Refuses what no part of the package could tell from something else, whatever dataset it comes from."""
    for tracklet, pid in zip(tracklets, pids, strict=True):
        if tracklet.camid < 0:
            raise UserError(f"{where}: {tracklet.paths[0]} has the camera {tracklet.camid}; cameras count from 0.")
        if known and pid < 0:
            raise UserError(
                f"{where}: {tracklet.paths[0]} has no identity ({pid}); all such images would count as one person."
            )
        if not -(2**63) <= pid < 2**63:
            raise UserError(f"{where}: the identity {pid} of {tracklet.paths[0]} does not fit into 64 bits.")


DATASETS: Registry[type[ReIDDataset]] = Registry("dataset")


def build_dataset(name: str, cfg: Any) -> ReIDDataset:
    """The dataset registered under ``name``, built from ``cfg.DATASETS``; raises :class:`UserError` if unknown."""
    return DATASETS.get(name).from_config(cfg)
