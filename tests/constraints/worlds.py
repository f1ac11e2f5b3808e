"""Tracklets with cameras and times, and the slow meaning of their relations."""

from __future__ import annotations

import numpy as np

from unreid.constraints import Records, describe
from unreid.structures import Tracklet

STARTS = (5543, 3607, 27244, 31182, 1, 22402, 18968, 46766)
"""DukeMTMC's synchronisation: global number of each camera's first frame."""


def tracklet(name: str, camera: int, first: int, last: int, track: int, images: int = 2) -> Tracklet:
    """Images of camera ``camera`` (1-based) from frame ``first`` to ``last`` of its video."""
    frames = tuple(np.linspace(first, last, images).astype(int).tolist())
    paths = tuple(f"/data/duke/train/{name}/0001/{name}_C{camera}_F{k + 1:04d}_X{x}.jpg" for k, x in enumerate(frames))
    return Tracklet(paths, camera - 1, track, frames)


def random_records(seed: int, count: int, cameras: int = 3, clips: int = 3) -> Records:
    """Passes on one clock, each cut into up to ``clips`` consecutive clips."""
    rng = np.random.default_rng(seed)
    tracklets = []
    track = 0
    while len(tracklets) < count:
        begin, camera = int(rng.integers(0, 600)), int(rng.integers(1, cameras + 1))
        for _ in range(rng.integers(1, clips + 1)):
            end = begin + int(rng.integers(0, 60))
            tracklets.append(tracklet(f"{len(tracklets):04d}", camera, begin, end, track))
            begin = end + 12
        track += 1
    tracklets = tracklets[:count]
    return describe(tracklets, [t.paths[0][11:] for t in tracklets], camera_starts=(1,) * cameras)


def overlap(records: Records, other: Records, i: int, j: int) -> int:
    """Common frames of two clips, minus one; negative if there are none."""
    return int(min(records.end[i], other.end[j]) - max(records.start[i], other.start[j]))
