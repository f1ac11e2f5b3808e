"""Identities tables: who is in which image, as a CSV file that is also a manifest of ImageFolder.

The columns are ``path,camera,pid,confidence``. How the identities came about stands beside it in a JSON file of the
same stem, which may be missing: a table that a person wrote needs none.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unreid.utils.errors import InputError, UserError
from unreid.utils.writing import atomic_write_bytes, atomic_write_text, csv_text
from unreid.workbench.feature_table import NO_CAMERA

FORMAT = "unreid-identities"
VERSION = 1
NO_IDENTITY = "-1"
"""Identity of an image without one, as in manifests."""
COLUMNS = ("path", "camera", "pid", "confidence")
_ENCODING = "utf-8"
_ODD = "surrogateescape"  # file names need not be text


@dataclass(frozen=True)
class IdentityTable:
    """Identities of N images.

    Attributes:
        paths: below ``meta["root"]``, with ``/``.
        cameras: any text; :data:`~unreid.workbench.feature_table.NO_CAMERA` where unknown.
        pids: any text; :data:`NO_IDENTITY` for none.
        confidences: float32 (N,) in [0, 1].
        meta: how they came about; plain JSON values, without ``format`` and ``version``.
    """

    paths: list[str]
    cameras: list[str]
    pids: list[str]
    confidences: np.ndarray
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.paths) == len(self.cameras) == len(self.pids) == len(self.confidences):
            raise InputError("paths, cameras, pids and confidences of an identities table have one length")

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def labels(self) -> tuple[np.ndarray, list[str]]:
        """int64 (N,) with -1 for none, and the identities that the numbers stand for, in order of appearance."""
        numbers: dict[str, int] = {}
        labels = [-1 if pid == NO_IDENTITY else numbers.setdefault(pid, len(numbers)) for pid in self.pids]
        return np.array(labels, dtype=np.int64), list(numbers)

    def to_csv(self) -> bytes:
        """The text of the file, as bytes: names of files need not be text."""
        sure = (f"{confidence:.4f}" for confidence in self.confidences.tolist())
        return csv_text([COLUMNS, *zip(self.paths, self.cameras, self.pids, sure)]).encode(_ENCODING, _ODD)


def write_identities(path: str | Path, table: IdentityTable) -> None:
    """Writes the CSV and, before it, the JSON beside it; each whole or not at all.

    Raises:
        UserError: the name does not end in .csv, or the system refuses a file.
    """
    path = check_name(path)
    content = {"format": FORMAT, "version": VERSION, **table.meta}
    atomic_write_text(path.with_suffix(".json"), json.dumps(content, indent=1) + "\n")
    atomic_write_bytes(path, table.to_csv())


def read_identities(path: str | Path) -> IdentityTable:
    """The table in a CSV file, with what stands beside it. Only ``path`` and ``pid`` must be there.

    Raises:
        UserError: there is no such file, a column is missing, or a line is wrong (with its number).
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"The identities table {path} cannot be read: {reason}.") from None
    lines = csv.reader(io.StringIO(content.decode("utf-8-sig", _ODD), newline=""), strict=True)
    paths: dict[str, int] = {}
    cameras, pids, confidences = [], [], []
    try:
        header = [cell.strip().lower() for cell in next(lines, [])]
        places = {name: header.index(name) for name in COLUMNS if name in header}
        missing = [name for name in ("path", "pid") if name not in places]
        if missing:
            raise UserError(
                f"{path} has no column {' and '.join(missing)}; an identities table has {', '.join(COLUMNS)}."
            )
        for cells in lines:
            if not any(cells):
                continue
            if len(cells) != len(header):
                raise ValueError(f"{len(cells)} cells where the header has {len(header)}")
            row = {name: cells[place] for name, place in places.items()}
            if not row["path"] or row["path"] in paths:
                raise ValueError(f"{row['path']} is there twice" if row["path"] else "the path is empty")
            paths[row["path"]] = lines.line_num
            cameras.append(row.get("camera") or NO_CAMERA)
            pids.append(row["pid"].strip() or NO_IDENTITY)
            confidences.append(_confidence(row.get("confidence", "")))
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path}, line {lines.line_num}: {error}.") from None
    return IdentityTable(list(paths), cameras, pids, np.array(confidences, np.float32), read_meta(path))


def read_meta(path: str | Path) -> dict[str, Any]:
    """What stands beside an identities table; empty where nothing does.

    Raises:
        UserError: the file there is something else.
    """
    beside = Path(path).with_suffix(".json")
    if not os.path.isfile(beside):
        return {}
    try:
        content = json.loads(beside.read_text(_ENCODING))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{beside}, which belongs to {path}, cannot be read: {error}.") from None
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT or content.pop("version", 0) != VERSION:
        raise UserError(f"{beside} does not describe the identities of {path}: move it away, or name the right table.")
    return content


def check_name(path: str | Path) -> Path:
    """The path of an identities table to write; :class:`UserError` unless it ends in .csv, or where the .json beside it
    is something else, which would be lost."""
    path = Path(path)
    if path.suffix.lower() != ".csv":
        raise UserError(f"{path}: an identities table ends in .csv.")
    read_meta(path)
    return path


def _confidence(text: str) -> float:
    value = float(text) if text.strip() else 1.0
    if not 0 <= value <= 1:
        raise ValueError(f"the confidence is {text} and not between 0 and 1")
    return value
