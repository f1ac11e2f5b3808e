"""What lines of a manifest may not say about each other: contradictions are refused, doubtful things are said."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from unreid.data.datasets.crop import UNKNOWN, Crop
from unreid.data.datasets.names import say_lookalikes
from unreid.data.datasets.same_files import FileIndex
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)

_FIELDS = ("split", "camera", "pid", "track", "frame")


def without_contradictions(manifest: Path, crops: list[Crop], folder: Path) -> list[Crop]:
    """The crops without repeated lines.

    An image may be query and gallery at once, as in some protocols; then its camera and identity agree.

    Raises:
        UserError: a file (under whatever name) is listed twice with different content, or a track has two identities
            or one frame number twice; with both lines.
    """
    unique = _without_repeats(manifest, crops, folder)
    _check_tracks(manifest, unique)
    say_lookalikes(str(manifest), "identity", {crop.pid for crop in unique if crop.pid is not None})
    say_lookalikes(str(manifest), "camera", {crop.camera for crop in unique})
    unknown = [crop for crop in unique if crop.camera == UNKNOWN]
    if unknown:
        logger.warning("%s: camera -1 is taken as a camera like others (%d lines)", manifest, len(unknown))
    return unique


def _without_repeats(manifest: Path, crops: list[Crop], folder: Path) -> list[Crop]:
    files = FileIndex(())
    seen: dict[str, list[Crop]] = {}
    unique = []
    repeats = []
    both = 0
    for crop in crops:
        others = seen.setdefault(files.add(os.path.join(folder, crop.path)), [])
        if any(_content(crop) == _content(other) for other in others):
            repeats.append(crop)
            continue
        for other in others:
            if not _is_query_in_gallery(crop, other):
                raise UserError(_contradiction(manifest, other, crop))
        both += bool(others)
        others.append(crop)
        unique.append(crop)
    if repeats:
        logger.warning(
            "%s: %d lines repeat an image that is listed already and count once (first: line %d, %s)",
            manifest,
            len(repeats),
            repeats[0].line,
            repeats[0].path,
        )
    if both:
        logger.warning("%s: %d images are query and gallery", manifest, both)
    return unique


def _content(crop: Crop) -> tuple[object, ...]:
    return tuple(getattr(crop, field) for field in _FIELDS)


def _is_query_in_gallery(one: Crop, other: Crop) -> bool:
    return {one.split, other.split} == {"query", "gallery"} and (one.camera, one.pid) == (other.camera, other.pid)


def _contradiction(manifest: Path, one: Crop, other: Crop) -> str:
    field = next(field for field in _FIELDS if getattr(one, field) != getattr(other, field))
    values = " and ".join(repr(getattr(crop, field) or "") for crop in (one, other))
    names = one.path if one.path == other.path else f"{one.path}, which is the file {other.path},"
    return f"{manifest}, lines {one.line} and {other.line}: {names} is listed twice, with the {field} {values}."


def _check_tracks(manifest: Path, crops: Iterable[Crop]) -> None:
    tracks: dict[tuple[str, str, str], list[Crop]] = {}
    for crop in crops:
        if crop.track is not None:
            tracks.setdefault((crop.split, crop.camera, crop.track), []).append(crop)
    partial = []
    for (split, camera, track), members in tracks.items():
        name = f"track {track!r} of {split}, camera {camera!r},"
        _check_one_identity(manifest, name, members)
        frames: dict[int, Crop] = {}
        for crop in members:
            if crop.frame is not None:
                before = frames.setdefault(crop.frame, crop)
                if before is not crop:
                    lines = f"lines {before.line} and {crop.line}"
                    raise UserError(f"{manifest}, {lines}: {name} has frame {crop.frame} twice.")
        if frames and len(frames) < len(members):
            partial.append(name)
    if partial:
        logger.warning(
            "%s: %d tracks have frame numbers for some of their images only and count as without time (first: %s)",
            manifest,
            len(partial),
            partial[0].rstrip(","),
        )


def _check_one_identity(manifest: Path, name: str, members: list[Crop]) -> None:
    known = [crop for crop in members if crop.pid is not None]
    other = next((crop for crop in known if crop.pid != known[0].pid), None)
    if other is not None:
        raise UserError(
            f"{manifest}, lines {known[0].line} and {other.line}: {name} has two identities, {known[0].pid!r} and "
            f"{other.pid!r}; a track is one person."
        )
