"""CSV manifests of own crops: which file, which camera, and what else is known."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unreid.utils.errors import UserError

_REQUIRED = ("path", "camera")
_OPTIONAL = ("split", "pid", "track", "frame")


@dataclass(frozen=True)
class Crop:
    """One image of a folder or one line of a manifest.

    Attributes:
        path: below the dataset's folder, with ``/``.
        camera: any text; cameras are numbered in natural order over all splits.
        split: "train", "query" or "gallery".
        pid: any text, or None when unknown.
        track: crops of one split, camera and track form a tracklet; None: an image of its own.
        frame: frame number, or None.
    """

    path: str
    camera: str
    split: str
    pid: str | None = None
    track: str | None = None
    frame: int | None = None


def read_manifest(manifest: Path, folder: Path, split_folders: dict[str, str]) -> list[Crop]:
    """The crops that a CSV file lists.

    The first line names the columns: ``path`` (below ``folder``) and ``camera``, optionally ``split``, ``pid``,
    ``track`` and ``frame``. Without a split the first part of the path decides (``split_folders``), else it is train.

    Raises:
        UserError: the file cannot be read, a column is missing, or a line is wrong; with the number of the line.
    """
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            _check_columns(manifest, reader.fieldnames or ())
            crops = [_crop(manifest, reader.line_num, row, folder, split_folders) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"The manifest {manifest} cannot be read: {error}.") from error
    if not crops:
        raise UserError(f"The manifest {manifest} lists no image.")
    return crops


def _check_columns(manifest: Path, columns: Sequence[str]) -> None:
    known = (*_REQUIRED, *_OPTIONAL)
    missing = [name for name in _REQUIRED if name not in columns]
    if missing:
        raise UserError(f"{manifest}, line 1: no column {' or '.join(missing)}; known columns: {', '.join(known)}.")


def _crop(
    manifest: Path, line: int, row: dict[str | None, str | None], folder: Path, split_folders: dict[str, str]
) -> Crop:
    """One checked line."""
    where = f"{manifest}, line {line}"
    cells = {name: (row.get(name) or "").strip() for name in (*_REQUIRED, *_OPTIONAL)}
    for name in _REQUIRED:
        if not cells[name]:
            raise UserError(f"{where}: the column {name} is empty.")
    path = cells["path"].replace("\\", "/")
    if not (folder / path).is_file():
        raise UserError(f"{where}: there is no file {folder / path}.")
    by_folder = {name: split for split, name in split_folders.items()}
    split = cells["split"] or by_folder.get(path.partition("/")[0], "train")
    if split not in split_folders:
        raise UserError(f"{where}: split must be one of {', '.join(split_folders)}, not {split!r}.")
    if cells["frame"] and not cells["frame"].isdecimal():
        raise UserError(f"{where}: frame must be a whole number, not {cells['frame']!r}.")
    return Crop(
        path=path,
        camera=cells["camera"],
        split=split,
        pid=cells["pid"] or None,
        track=cells["track"] or None,
        frame=int(cells["frame"]) if cells["frame"] else None,
    )
