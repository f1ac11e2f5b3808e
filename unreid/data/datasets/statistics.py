"""What a split holds, as numbers: counted, compared with the published figures, printed as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unreid.structures import GroundTruth, Tracklet


@dataclass(frozen=True)
class Counts:
    """Size of one split.

    Attributes:
        ids: identities, counting the distractor id 0 where a split has it; None: unknown or not to be checked.
        tracklets: samples (for an image set the number of images); None: not to be checked.
        cameras: cameras that occur; None: the set has no cameras.
        images: frames over all tracklets; None: not to be checked.
    """

    ids: int | None
    tracklets: int | None
    cameras: int | None
    images: int | None = None


def count(tracklets: Sequence[Tracklet], truth: GroundTruth) -> Counts:
    """The :class:`Counts` of a split. Unknown identities (-1) are not counted as one."""
    ids = np.unique(truth.pids)
    return Counts(
        ids=int((ids >= 0).sum()),
        tracklets=len(tracklets),
        cameras=len({tracklet.camid for tracklet in tracklets}),
        images=sum(len(tracklet.paths) for tracklet in tracklets),
    )


def differences(found: Counts, official: Counts) -> list[str]:
    """One phrase per number that differs, such as ``"700 identities (official: 751)"``; empty when all agree."""
    is_video = official.images is not None and official.images != official.tracklets
    named = (
        (found.ids, official.ids, "identities"),
        (found.tracklets, official.tracklets, "tracklets" if is_video else "samples"),
        (found.cameras, official.cameras, "cameras"),
        (found.images, official.images, "images"),
    )
    return [
        f"{have:,} {what} (official: {want:,})"
        for have, want, what in named
        if want is not None and have is not None and have != want
    ]


def closest(found: Counts, versions: Iterable[Counts]) -> list[str]:
    """:func:`differences` to the published version (some sets circulate in several) that is nearest."""
    return min((differences(found, official) for official in versions), key=len, default=[])


def table(title: str, rows: Mapping[str, Counts]) -> str:
    """A plain-text table, one line per split."""
    lines = [title, f"  {'split':<8} {'identities':>10} {'tracklets':>10} {'images':>10} {'cameras':>8}"]
    for split, counts in rows.items():
        cells = (counts.ids, counts.tracklets, counts.images, counts.cameras)
        ids, tracklets, images, cameras = ("-" if cell is None else f"{cell:,}" for cell in cells)
        lines.append(f"  {split:<8} {ids:>10} {tracklets:>10} {images:>10} {cameras:>8}")
    return "\n".join(lines)
