"""A CSV file as a table: delimiter, columns, and cells as spreadsheets leave them."""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from unreid.utils.errors import UserError
from unreid.utils.text import read_text

logger = logging.getLogger(__name__)

REQUIRED = ("path", "camera")
COLUMNS = (*REQUIRED, "split", "pid", "track", "frame")

_DELIMITERS = (",", ";", "\t", "|")
_OTHER_NAMES = {
    "path": ("file", "filename", "file_name", "filepath", "image", "img", "image_path"),
    "camera": ("cam", "camid", "cam_id", "camera_id", "cameraid"),
    "split": ("subset", "set", "partition"),
    "pid": ("id", "identity", "person", "person_id", "personid", "identity_id", "label"),
    "track": ("tracklet", "track_id", "trackid", "tracklet_id"),
    "frame": ("frame_id", "frameid", "frame_number"),
}
_EMPTY = frozenset({"nan", "NaN", "NAN", "None", "null", "NULL", "N/A", "NA", "#N/A", "<NA>"})
_FLOAT = re.compile(r"(-?[0-9]+)\.0*")
_ROUNDED = re.compile(r"-?[0-9](\.[0-9]*)?[eE]\+[0-9]+")
_EXACT = 2**53  # whole numbers that a spreadsheet's floats tell apart

Row = tuple[int, dict[str, str]]
"""Number of the line, and the cells of the known columns."""


def read_table(manifest: Path) -> list[Row]:
    """The lines of a CSV file that are not empty.

    Cells are stripped; ``nan`` and the like are empty, and ``7.0``, which a spreadsheet makes of 7, is 7 (both are
    said), except in the column ``path``.

    Raises:
        UserError: the file or a line of it cannot be read, a column is missing, double, or looks like another one's
            name, or a spreadsheet has rounded a number.
    """
    text = read_text(manifest)
    delimiter = _delimiter(text)
    rows = _records(manifest, text, delimiter)
    header_line, header = next(rows, (1, []))
    where = f"{manifest}, line {header_line}"
    columns = _checked_columns(where, header)
    table = []
    changes: list[str] = []
    for line, cells in rows:
        if len(cells) < len(columns) or any(cells[len(columns) :]):
            raise UserError(
                f"{manifest}, line {line}: {len(cells)} fields where the header has {len(columns)}; put a field that "
                f"holds {delimiter!r} into double quotes."
            )
        found = {name: cell for name, cell in zip(columns, cells) if name in COLUMNS}
        table.append((line, _clean(f"{manifest}, line {line}", found, changes)))
    if changes:
        logger.warning("%d cells were written by a spreadsheet and read as meant (first: %s)", len(changes), changes[0])
    return table


def _delimiter(text: str) -> str:
    """The delimiter that finds most of our columns in the first line."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    known = {
        delimiter: {cell.strip(' "') for cell in first.split(delimiter)} & set(COLUMNS) for delimiter in _DELIMITERS
    }
    return max(_DELIMITERS, key=lambda delimiter: len(known[delimiter]))


def _records(manifest: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Stripped cells with the number of their line; lines without content are passed over."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=True
    )
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield reader.line_num, stripped
    except csv.Error as error:
        raise UserError(f"{manifest}, line {reader.line_num}, cannot be read: {error}.") from error


def _checked_columns(where: str, header: Sequence[str]) -> list[str]:
    while header and not header[-1]:
        header = header[:-1]
    columns = list(header)
    double = next((name for name in columns if columns.count(name) > 1), None)
    if double is not None:
        raise UserError(f"{where}: the column {double!r} occurs {columns.count(double)} times.")
    others = [name for name in columns if name not in COLUMNS]
    for name in others:
        meant = _meant(name)
        if meant is not None and meant not in columns:
            raise UserError(f"{where}: there is no column {name!r}, did you mean {meant!r}? {_known()}")
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise UserError(f"{where}: no column {' or '.join(missing)}; {_known()}")
    if others:
        logger.warning("%s: the columns %s are not read; %s", where, ", ".join(map(repr, others)), _known())
    return columns


def _known() -> str:
    return f"known columns: {', '.join(COLUMNS)}."


def _meant(name: str) -> str | None:
    """The column that a name probably stands for."""
    plain = re.sub(r"[\s-]+", "_", name.strip().lower())
    for column, names in _OTHER_NAMES.items():
        if plain in names:
            return column
    near = get_close_matches(plain, COLUMNS, n=1, cutoff=0.7)
    return near[0] if near else None


def _clean(where: str, cells: dict[str, str], changes: list[str]) -> dict[str, str]:
    """Cells without the traces of a spreadsheet; what was changed is added to ``changes``."""
    clean = {}
    for name, cell in cells.items():
        clean[name] = cell
        if name == "path":
            continue
        whole = _FLOAT.fullmatch(cell)
        if _ROUNDED.fullmatch(cell) or (whole and len(whole[1]) > 15 and abs(int(whole[1][:20])) > _EXACT):
            raise UserError(
                f"{where}: a spreadsheet has rounded the {name} to {cell[:40]!r}; export the column as text, since "
                "different numbers may have become one."
            )
        if cell in _EMPTY:
            clean[name] = ""
        elif whole:
            clean[name] = whole[1]
        if clean[name] != cell:
            changes.append(f"{where}: {name} {cell!r} as {clean[name]!r}")
    return clean
