"""What tracklets say about each other: which overlap in time, and how long walks between cameras take."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch

from unreid.constraints.intervals import lag, overlapping_pairs
from unreid.constraints.links import Links
from unreid.constraints.records import Records

LEVELS = ("clip", "track")


def mine_overlaps(
    rows: Records,
    columns: Records | None = None,
    *,
    min_overlap: int = 0,
    level: str = "clip",
    exclude: Collection[tuple[int, int]] = (),
) -> Links:
    """TOC: pairs of different passes that overlap in time, so that they cannot be one person.

    Args:
        rows: training records, or queries; with time.
        columns: the gallery; None: the rows themselves, and the links are symmetric.
        min_overlap: common frames wanted; 0: touching is enough.
        level: "clip" compares the clips, "track" the whole passes they were cut from (stronger, and as valid).
        exclude: camera pairs (0-based, either order) whose views overlap, where one person can be seen twice.

    Raises:
        ValueError: records without time, or an unknown level.
    """
    other = rows if columns is None else columns
    if level not in LEVELS:
        raise ValueError(f"level is one of {', '.join(LEVELS)}, not {level!r}")
    i, j = overlapping_pairs(*_interval(rows, level), *_interval(other, level), min_overlap)
    kept = rows.tracks[i] != other.tracks[j]
    for a, b in exclude:
        seen, met = rows.camids[i], other.camids[j]
        kept &= ~(((seen == a) & (met == b)) | ((seen == b) & (met == a)))
    return Links.from_pairs(i[kept], j[kept], (len(rows), len(other)))


def passes_of_clusters(records: Records, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of different passes in one cluster that do not overlap in time: examples of a walk.

    Args:
        records: N records with time.
        labels: int64 (N,), -1 outlier.

    Returns:
        Cameras of the first and of the second pass, and the lag between them in frames, int64 (P,) each.
    """
    if records.track_start is None or records.track_end is None:
        raise ValueError("walks need records with time")
    member = np.flatnonzero(labels >= 0)
    # One entry per (cluster, pass), sorted by cluster: the partners of an entry are the rest of its cluster.
    _, first = np.unique(np.stack((labels[member], records.tracks[member])), axis=1, return_index=True)
    entry = member[first]
    cluster = labels[entry]
    last = np.searchsorted(cluster, cluster, side="right")
    position = np.arange(len(entry))
    count = last - position - 1
    i = np.repeat(position, count)
    j = i + 1 + np.arange(len(i)) - np.repeat(np.cumsum(count) - count, count)
    i, j = entry[i], entry[j]
    bounds = [torch.from_numpy(side[k]) for k in (i, j) for side in (records.track_start, records.track_end)]
    lags = lag(*bounds).numpy()
    walked = lags != 0
    return records.camids[i][walked], records.camids[j][walked], lags[walked]


def _interval(records: Records, level: str) -> tuple[np.ndarray, np.ndarray]:
    sides = (records.start, records.end) if level == "clip" else (records.track_start, records.track_end)
    if sides[0] is None or sides[1] is None:
        raise ValueError("overlaps need records with time")
    return sides[0], sides[1]
