"""One image of own crops, before cameras and identities are numbered."""

from __future__ import annotations

from dataclasses import dataclass

UNKNOWN = "-1"
"""The identity that lists of re-ID sets give to images without one."""


@dataclass(frozen=True)
class Crop:
    """One image of a folder or one line of a manifest.

    Attributes:
        path: below the dataset's folder, with ``/``; absolute where the file lies elsewhere.
        camera: any text; cameras are numbered in natural order over all splits.
        split: "train", "query" or "gallery".
        pid: any text, or None when unknown.
        track: crops of one split, camera and track form a tracklet; None: an image of its own.
        frame: frame number, or None.
        line: of the manifest, from 1; 0 without one.
    """

    path: str
    camera: str
    split: str
    pid: str | None = None
    track: str | None = None
    frame: int | None = None
    line: int = 0
