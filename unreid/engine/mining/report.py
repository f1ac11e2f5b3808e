"""What mining found, for the log."""

from __future__ import annotations

import logging

import numpy as np

from unreid.constraints import Links, Records, TravelTable

logger = logging.getLogger(__name__)


def log_links(name: str, rows: Records, columns: Records, links: Links) -> None:
    """How many pairs overlap in time; ``rows is columns`` on a training set."""
    square = rows is columns
    pairs = len(links) // 2 if square else len(links)
    possible = len(rows) * (len(rows) - 1) // 2 if square else len(rows) * len(columns)
    same = int((rows.camids[links.rows()] == columns.camids[links.index]).sum()) // (2 if square else 1)
    free = int((np.diff(links.start) == 0).sum())
    logger.info(
        "TOC, %s: %d x %d tracklets, %d pairs overlap in time (%.2f %% of all, %.1f per tracklet, %d in one camera); "
        "%d tracklets overlap with none",
        name,
        len(rows),
        len(columns),
        pairs,
        100.0 * pairs / max(possible, 1),
        len(links) / max(len(rows), 1),
        same,
        free,
    )


def log_travel(travel: TravelTable, examples: np.ndarray | None, frame_rate: float | None) -> None:
    """Which camera pairs are known, and how long their walks take."""
    cameras = travel.cameras
    pairs = cameras * (cameras + 1) // 2
    if examples is None:
        logger.info("STS: %d camera pairs, given times, unknown p = %.3f", pairs, travel.unknown)
        return
    upper = np.triu_indices(cameras)
    known = [(a, b) for a, b in zip(*upper) if np.ptp(travel.table[a, b]) > 0]
    logger.info(
        "STS: %d walks between passes of a cluster; %d of %d camera pairs known, unknown p = %.3f",
        int(examples[upper].sum()),
        len(known),
        pairs,
        travel.unknown,
    )
    for a, b in known:
        peak = (int(travel.table[a, b].argmax()) - travel.origin) * travel.bin
        shown = f"{peak / frame_rate:+.1f} s" if frame_rate else f"{peak:+d} frames"
        logger.info("  camera %d to %d: %d walks, most often after %s", a + 1, b + 1, int(examples[a, b]), shown)
