"""What is known about tracklets without looking at a pixel or an identity: file, camera and time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from unreid.structures import Tracklet, camids_of


@dataclass(frozen=True)
class Records:
    """N tracklets by key.

    Attributes:
        keys: unicode (N,), the path of the first image below the dataset's folder, with "/"; unique.
        lengths: int64 (N,), images.
        camids: int64 (N,), 0-based.
        tracks: int64 (N,), the pass a tracklet belongs to: clips cut from one pass share it.
        start, end: int64 (N,), first and last frame on the clock of all cameras; None where there is none.
        track_start, track_end: int64 (N,), the same of the whole pass.
    """

    keys: np.ndarray
    lengths: np.ndarray
    camids: np.ndarray
    tracks: np.ndarray
    start: np.ndarray | None = None
    end: np.ndarray | None = None
    track_start: np.ndarray | None = None
    track_end: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def has_time(self) -> bool:
        """The records stand on one clock."""
        return self.start is not None

    def take(self, positions: np.ndarray) -> Records:
        """Some of the records, in the order of ``positions``."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return Records(**{name: column[positions] for name, column in columns.items() if column is not None})


def record_keys(tracklets: Sequence[Tracklet], folders: Sequence[Path]) -> list[str]:
    """The key of every tracklet: its first path below that one of the dataset ``folders`` that holds it.

    The same file has the same key on every machine, whatever the data folder is called.
    """
    prefixes = [str(folder).rstrip(os.sep) + os.sep for folder in folders]
    return [_below(tracklet.paths[0], prefixes).replace(os.sep, "/") for tracklet in tracklets]


def describe(
    tracklets: Sequence[Tracklet],
    keys: Sequence[str],
    camera_starts: Sequence[int] | None = None,
    tracks: np.ndarray | None = None,
) -> Records:
    """Records of tracklets, with times where their frames and their cameras' clock are known.

    Args:
        keys: see :func:`record_keys`.
        camera_starts: per camera the global number of its first frame: ``global = frame + start - 1``.
        tracks: int64 (N,) replaces the tracklets' own pass numbers.
    """
    camids = camids_of(tracklets)
    tracks = np.array([t.trackid for t in tracklets], dtype=np.int64) if tracks is None else tracks
    lengths = np.array([len(t.paths) for t in tracklets], dtype=np.int64)
    names = np.array(keys, dtype=str) if keys else np.empty(0, dtype="U1")
    frames = [t.frames for t in tracklets]
    if camera_starts is None or not tracklets or any(frame is None for frame in frames):
        return Records(names, lengths, camids, tracks)
    offset = np.array(camera_starts, dtype=np.int64)[camids] - 1
    start = np.array([min(frame) for frame in frames if frame], dtype=np.int64) + offset
    end = np.array([max(frame) for frame in frames if frame], dtype=np.int64) + offset
    return Records(names, lengths, camids, tracks, start, end, *_span(tracks, start, end))


def shared_tracks(first: Sequence[str], second: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Pass numbers of two splits of whole tracklets, in which a tracklet and its copy have the same one.

    Copies have the same path below their split's folder (DukeMTMC-VideoReID's gallery holds the queries as well).
    """
    numbers: dict[str, int] = {}

    def number(key: str) -> int:
        return numbers.setdefault(key.partition("/")[2] or key, len(numbers))

    one, other = ([number(key) for key in keys] for keys in (first, second))
    return np.array(one, dtype=np.int64), np.array(other, dtype=np.int64)


def _below(path: str, prefixes: Sequence[str]) -> str:
    return next((path.removeprefix(prefix) for prefix in prefixes if path.startswith(prefix)), path)


def _span(tracks: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last frame of every record's whole pass."""
    _, number = np.unique(tracks, return_inverse=True)
    first = np.full(number.max() + 1, np.iinfo(np.int64).max)
    last = np.full(number.max() + 1, np.iinfo(np.int64).min)
    np.minimum.at(first, number, start)
    np.maximum.at(last, number, end)
    return first[number], last[number]
