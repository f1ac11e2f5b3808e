"""DukeMTMC-VideoReID."""

from __future__ import annotations

import logging
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from unreid.data.datasets.base import DATASETS, ReIDDataset
from unreid.data.datasets.dukemtmcreid import WITHDRAWN
from unreid.data.datasets.files import ImageListing
from unreid.data.datasets.statistics import Counts
from unreid.structures import Tracklet
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)

_NAME = re.compile(r"(?P<pid>\d+)_?C(?P<cam>\d+)_?F(?P<image>\d+)_?X(?P<frame>\d+)\.")
_DENSE_CLIPS = {32: 10_517, 40: 8_187}  # training clips of the official set, by step


@DATASETS.register("DukeMTMCVideoReID", "DukeMTMC-VideoReID", "dukevideo")
class DukeMTMCVideoReID(ReIDDataset):
    """DukeMTMC-VideoReID: 1,404 pedestrians as hand-annotated tracklets from eight campus cameras.

    **Withdrawn by its owners in June 2019**, like all of DukeMTMC; supported so that published results can be checked.

    Citation: Ristani et al., Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking, ECCVW 2016;
    Wu et al., Exploit the Unknown Gradually: One-Shot Video-Based Person Re-Identification by Stepwise Learning,
    CVPR 2018.
    Home page: https://github.com/Yu-Wu/DukeMTMC-VideoReID

    Layout::

        DukeMTMC-VideoReID/
            train/0001/0001/0001_C6_F0099_X30823.jpg     <identity>/<tracklet>/: camera 6, image 99, frame 30823
            query/...                                    names without the underscores are read too
            gallery/...                                  holds the queries' own tracklets as well

    Images are 12 video frames apart and sorted by their number F; X counts frames of that camera's whole video. The
    cameras share a clock: see :attr:`camera_starts`.
    Identities / tracklets / cameras; images: train 702 / 2,196 / 8; 369,656, query 702 / 702 / 8; 111,848, gallery
    1,110 / 2,636 / 8; 445,764.

    Args:
        root, strict: see :class:`~unreid.data.datasets.base.ReIDDataset`.
        dense: cut training tracklets into clips.
        dense_step: images of a clip; a tracklet of n images gives max(1, n // dense_step) clips, the last one takes
            the remainder. Query and gallery stay whole. Clips of a tracklet share its ``trackid``.

    Raises:
        UserError: ``dense_step`` below 1, or see the base class.
    """

    name = "DukeMTMCVideoReID"
    folders: tuple[str, ...] = ("DukeMTMC-VideoReID", "dukemtmc-videoreid")
    required = ("train", "query", "gallery")
    notice = WITHDRAWN
    camera_starts = (5543, 3607, 27244, 31182, 1, 22402, 18968, 46766)
    frame_rate = 59.940059
    official: ClassVar = {
        "train": (Counts(702, 2_196, 8, 369_656),),
        "query": (Counts(702, 702, 8, 111_848),),
        "gallery": (Counts(1_110, 2_636, 8, 445_764),),
    }

    def __init__(self, root: str | Path, *, strict: bool = False, dense: bool = False, dense_step: int = 32) -> None:
        if dense_step < 1:
            raise UserError(f"DATASETS.DENSE_STEP must be at least 1, not {dense_step}.")
        self.dense, self.dense_step = dense, dense_step
        super().__init__(root, strict=strict)

    @classmethod
    def from_config(cls, cfg: Any) -> Self:
        """The dataset in the mode that ``cfg.DATASETS.MODE`` and ``DENSE_STEP`` describe."""
        node = cfg.DATASETS
        return cls(node.ROOT, strict=node.STRICT, dense=node.MODE == "dense", dense_step=node.DENSE_STEP)

    def _expected(self, split: str) -> tuple[Counts, ...]:
        whole = super()._expected(split)
        if split != "train" or not self.dense:
            return whole
        return tuple(replace(counts, tracklets=_DENSE_CLIPS.get(self.dense_step)) for counts in whole)

    def _parse(self, split: str) -> tuple[list[Tracklet], list[int]]:
        base = self.folder / split
        tracklets: list[Tracklet] = []
        pids: list[int] = []
        strangers = 0
        listing = ImageListing()
        for person in filter(str.isdecimal, listing.folders(base)):
            for track in listing.folders(base / person):
                found = _read_track(base / person / track, listing, len(tracklets))
                strangers += found.strangers
                if found.tracklet is not None:
                    tracklets.append(found.tracklet)
                    pids.append(int(person))
        listing.log(self.name, base)
        if not tracklets:
            raise UserError(f"{self.name}: {base} has no tracklet like 0001/0001/0001_C6_F0099_X30823.jpg.")
        if strangers:
            logger.warning("%s: %d images of %s were left out, their names do not fit", self.name, strangers, base)
        if split == "train" and self.dense:
            return _dense(tracklets, pids, self.dense_step)
        return tracklets, pids


class _Track(NamedTuple):
    tracklet: Tracklet | None
    strangers: int


def _read_track(folder: Path, listing: ImageListing, trackid: int) -> _Track:
    """One folder as a tracklet, images in order of their number F, of one person and camera; None when no name fits."""
    names = listing.names(folder)
    matches = [match for match in map(_NAME.match, names) if match]
    if not matches:
        return _Track(None, len(names))
    owners = [(int(match["pid"]), int(match["cam"])) for match in matches]
    owner = Counter(owners).most_common(1)[0][0]
    members = [match for match, own in zip(matches, owners) if own == owner]
    members.sort(key=lambda match: int(match["image"]))
    tracklet = Tracklet(
        paths=tuple(str(folder / match.string) for match in members),
        camid=owner[1] - 1,
        trackid=trackid,
        frames=tuple(int(match["frame"]) for match in members),
    )
    return _Track(tracklet, len(names) - len(members))


def _dense(tracklets: list[Tracklet], pids: list[int], step: int) -> tuple[list[Tracklet], list[int]]:
    """Cuts every tracklet into clips of ``step`` images (AuxUSL, section 3.2)."""
    clips: list[Tracklet] = []
    owners: list[int] = []
    for tracklet, pid in zip(tracklets, pids):
        number = max(1, len(tracklet.paths) // step)
        for start in range(0, number * step, step):
            end = start + step if start + step < number * step else len(tracklet.paths)
            frames = tracklet.frames[start:end] if tracklet.frames is not None else None
            clips.append(replace(tracklet, paths=tracklet.paths[start:end], frames=frames))
            owners.append(pid)
    return clips, owners
