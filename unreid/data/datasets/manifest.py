"""CSV manifests of own crops: which file, which camera, and what else is known."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

from unreid.data.datasets.crop import UNKNOWN, Crop
from unreid.data.datasets.manifest_rules import without_contradictions
from unreid.data.datasets.manifest_table import REQUIRED, read_table
from unreid.data.formats import why_not_an_image
from unreid.utils.errors import UserError

_LARGEST_FRAME = 2**53


def read_manifest(manifest: Path, folder: Path, split_folders: dict[str, str]) -> list[Crop]:
    """The crops that a CSV file lists.

    The first line names the columns: ``path`` (below ``folder``) and ``camera``, optionally ``split``, ``pid``,
    ``track`` and ``frame``. Without a split the folder that holds the image decides (``split_folders``), else it is
    train. Columns may be separated by comma, semicolon, tab or bar. The text is UTF-8, or as its byte
    order mark says.

    Raises:
        UserError: the file cannot be read, a column is missing, a line is wrong, or lines contradict each other; with
            the number of the line.
    """
    rows = read_table(manifest)
    if not rows:
        raise UserError(f"The manifest {manifest} lists no image.")
    paths = _existing(manifest, [(line, cells["path"]) for line, cells in rows], folder)
    bases = _bases(folder, split_folders)
    crops = [_crop(manifest, line, cells, path, folder, bases) for (line, cells), path in zip(rows, paths)]
    _check_identities(manifest, crops)
    return without_contradictions(manifest, crops, folder)


def _existing(manifest: Path, listed: list[tuple[int, str]], folder: Path) -> list[str]:
    """The files, below ``folder`` where they are; names from Windows are understood."""
    paths = []
    missing = []
    inside = os.path.join(folder, "")
    for line, text in listed:
        if not text:
            raise UserError(f"{manifest}, line {line}: the column path is empty.")
        spellings = dict.fromkeys((text, text.replace("\\", "/")))
        found = next((spelling for spelling in spellings if os.path.isfile(os.path.join(folder, spelling))), None)
        if found is None:
            missing.append(f"line {line}: there is no file {folder / text.replace(chr(92), '/')}")
            continue
        reason = why_not_an_image(os.path.join(folder, found))
        if reason is not None:
            raise UserError(f"{manifest}, line {line}: {text} {reason}.")
        plain = found.removeprefix(inside)
        paths.append(PurePosixPath(plain).as_posix() if "./" in plain or "//" in plain else plain)
    if missing:
        more = f" ({len(missing)} of {len(listed)} lines name a file that is not there)" if len(missing) > 1 else ""
        raise UserError(f"{manifest}, {missing[0]}{more}.")
    return paths


def _bases(folder: Path, split_folders: dict[str, str]) -> list[tuple[str, str]]:
    """Real folder and split, the deepest folder first."""
    real = [(os.path.join(os.path.realpath(folder / name), ""), split) for split, name in split_folders.items() if name]
    return sorted(real, key=lambda pair: -len(pair[0]))


def _crop(
    manifest: Path, line: int, cells: dict[str, str], path: str, folder: Path, bases: list[tuple[str, str]]
) -> Crop:
    """One checked line."""
    where = f"{manifest}, line {line}"
    for name in REQUIRED:
        if not cells[name]:
            raise UserError(f"{where}: the column {name} is empty.")
    splits = ("train", "query", "gallery")
    split = cells.get("split", "")
    if split and split not in splits:
        near = get_close_matches(split.lower(), splits, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise UserError(f"{where}: split must be one of {', '.join(splits)}, not {split!r}{hint}")
    frame = cells.get("frame", "")
    if frame and not (frame.isascii() and frame.isdecimal() and int(frame[:30]) <= _LARGEST_FRAME):
        raise UserError(f"{where}: frame must be a whole number up to {_LARGEST_FRAME:,}, not {frame[:40]!r}.")
    pid = cells.get("pid", "")
    return Crop(
        path=path,
        camera=cells["camera"],
        split=split or _split_of(os.path.join(folder, path), bases),
        pid=None if pid in ("", UNKNOWN) else pid,
        track=cells.get("track") or None,
        frame=int(frame) if frame else None,
        line=line,
    )


def _split_of(path: str, bases: list[tuple[str, str]]) -> str:
    """The split whose folder holds the file, by its real place or by its name."""
    places = (os.path.normpath(path), os.path.realpath(path))
    return next((split for base, split in bases if any(place.startswith(base) for place in places)), "train")


def _check_identities(manifest: Path, crops: list[Crop]) -> None:
    """Test images without identity would all count as one person."""
    nameless = [crop for crop in crops if crop.split != "train" and crop.pid is None]
    if nameless:
        first = nameless[0]
        more = f" ({len(nameless)} such lines)" if len(nameless) > 1 else ""
        raise UserError(
            f"{manifest}, line {first.line}: a {first.split} image needs an identity in the column pid{more}; without "
            "it there is nothing to score."
        )
