"""Celeb-reID."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from unreid.data.datasets.base import DATASETS
from unreid.data.datasets.named_files import NamedFilesDataset
from unreid.data.datasets.statistics import Counts
from unreid.structures import Tracklet
from unreid.utils.errors import UserError


@DATASETS.register("CelebReID", "Celeb-reID")
class CelebReID(NamedFilesDataset):
    """Celeb-reID: 1,052 celebrities in street snapshots, in changing clothes. There are no cameras.

    Every image counts as its own camera and nothing is removed from the gallery. The CDSM code instead took the first
    digit of the image number for a camera, which removes unrelated gallery images; ``cameras="reference"`` does the
    same, for comparison with its published number.

    Citation: Huang et al., Beyond Scalar Neuron: Adopting Vector-Neuron Capsules for Long-Term Person
    Re-identification, IEEE TCSVT 2020.
    Home page: https://github.com/Huang-3/Celeb-reID

    Layout::

        Celeb-reID/
            train/1_12_0.jpg                             identity 1, its 12th image
            query/...
            gallery/...

    Identities / images: train 632 / 20,208; query 420 / 2,972; gallery 420 / 11,006.

    Args:
        root, strict: see :class:`~unreid.data.datasets.base.ReIDDataset`.
        cameras: "own" or "reference".

    Raises:
        UserError: ``cameras`` is neither of them.
    """

    name = "CelebReID"
    folders: tuple[str, ...] = ("Celeb-reID", "CelebReID", "celebreid")
    required = ("train", "query", "gallery")
    split_folders: ClassVar = {"train": "train", "query": "query", "gallery": "gallery"}
    pattern = re.compile(r"(?P<pid>\d+)_(?P<cam>\d)\d*_", re.ASCII)
    example = "1_12_0.jpg"
    official: ClassVar = {
        "train": (Counts(632, 20_208, None),),
        "query": (Counts(420, 2_972, None),),
        "gallery": (Counts(420, 11_006, None),),
    }

    def __init__(self, root: str | Path, *, strict: bool = False, cameras: str = "own") -> None:
        if cameras not in ("own", "reference"):
            raise UserError(f"DATASETS.CELEBREID must be 'own' or 'reference', not {cameras!r}.")
        self.has_cameras = self.cross_camera_filter = cameras == "reference"
        super().__init__(root, strict=strict)

    @classmethod
    def from_config(cls, cfg: Any) -> Self:
        return cls(cfg.DATASETS.ROOT, strict=cfg.DATASETS.STRICT, cameras=cfg.DATASETS.CELEBREID)

    def number_cameras(self, found: Mapping[int, str]) -> dict[int, int]:
        """The first digit of the image number (used by ``cameras="reference"`` only)."""
        return {digit: digit for digit in found}

    def _parse(self, split: str) -> tuple[list[Tracklet], list[int]]:
        tracklets, pids = super()._parse(split)
        if not self.has_cameras:
            tracklets = [Tracklet(t.paths, position, t.trackid) for position, t in enumerate(tracklets)]
        return tracklets, pids
