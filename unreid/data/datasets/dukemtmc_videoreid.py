"""DukeMTMC-VideoReID."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from unreid.data.datasets.base import DATASETS, ReIDDataset
from unreid.data.datasets.dukemtmcreid import WITHDRAWN
from unreid.data.datasets.files import ImageListing
from unreid.data.datasets.named_files import check_numbers
from unreid.data.datasets.names import say_spellings
from unreid.data.datasets.statistics import Counts
from unreid.structures import Tracklet
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)

_NAME = re.compile(r"(?P<pid>\d+)_?C(?P<cam>\d+)_?F(?P<image>\d+)_?X(?P<frame>\d+)\.", re.ASCII)
_IDENTITY = re.compile(r"[0-9]+")
_LARGEST_FRAME = 2**53
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
    camera_starts: tuple[int, ...] | None = (5543, 3607, 27244, 31182, 1, 22402, 18968, 46766)
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
        strangers = ImageListing().names(base)
        listing = ImageListing()
        foreign = [name for name in listing.folders(base) if not _IDENTITY.fullmatch(name)]
        spellings: dict[int, set[str]] = {}
        for person in filter(_IDENTITY.fullmatch, listing.folders(base)):
            strangers += (f"{person}/{name}" for name in ImageListing().names(base / person))
            for track in listing.folders(base / person):
                found = self._read_track(base, f"{person}/{track}", listing, len(tracklets))
                strangers += found.strangers
                if found.tracklet is not None:
                    tracklets.append(found.tracklet)
                    pids.append(int(person))
                    spellings.setdefault(int(person), set()).add(person)
        listing.log(self.name, base)
        if not tracklets:
            other = f"; another name: {strangers[0]}" if strangers else ""
            raise UserError(f"{self.name}: {base} has no tracklet like 0001/0001/0001_C6_F0099_X30823.jpg{other}.")
        say_spellings(self.name, "identity", spellings)
        for what, names in (("images", strangers), ("folders", foreign)):
            if names:
                text = "%s: %d %s of %s were left out, their names do not fit (first: %s)"
                logger.warning(text, self.name, len(names), what, base, names[0])
        self._check_clock(tracklets)
        if split == "train" and self.dense:
            return _dense(tracklets, pids, self.dense_step)
        return tracklets, pids

    def _read_track(self, base: Path, folder: str, listing: ImageListing, trackid: int) -> _Track:
        """One folder as a tracklet of one person and camera, images in order of their number F; None: no name fits."""
        names = listing.names(base / folder)
        person = int(folder.partition("/")[0])
        matches = [match for match in map(_NAME.match, names) if match and int(match["pid"]) == person]
        cameras = Counter(int(match["cam"]) for match in matches)
        camera = cameras.most_common(1)[0][0] if cameras else 0
        members = [match for match in matches if int(match["cam"]) == camera]
        members.sort(key=lambda match: int(match["image"]))
        strangers = sorted(set(names) - {match.string for match in members})
        left_out = [f"{folder}/{name}" for name in strangers]
        if not members:
            return _Track(None, left_out)
        first = str(base / folder / members[0].string)
        check_numbers(self.name, first, pid=person, camera=camera)
        if camera < 1:
            raise UserError(
                f"{self.name}: {first} is of camera 0; cameras count from 1 here, as the clocks do: rename."
            )
        frames = tuple(int(match["frame"]) for match in members)
        if max(frames) > _LARGEST_FRAME:
            raise UserError(f"{self.name}: {base / folder} has a frame number above {_LARGEST_FRAME:,}.")
        paths = tuple(os.path.join(base, folder, match.string) for match in members)
        return _Track(Tracklet(paths, camera - 1, trackid, frames), left_out)

    def _check_clock(self, tracklets: Sequence[Tracklet]) -> None:
        """Cameras that have no known clock leave the set without one."""
        unknown = [t for t in tracklets if self.camera_starts is not None and t.camid >= len(self.camera_starts)]
        if unknown:
            logger.warning(
                "%s: the clock of camera %d is not known (first: %s), so no constraint on time can be mined",
                self.name,
                unknown[0].camid + 1,
                unknown[0].paths[0],
            )
            self.camera_starts = None


class _Track(NamedTuple):
    tracklet: Tracklet | None
    strangers: list[str]


def _dense(tracklets: list[Tracklet], pids: list[int], step: int) -> tuple[list[Tracklet], list[int]]:
    """Cuts every tracklet into clips of ``step`` images, as AuxUSL's code does."""
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
