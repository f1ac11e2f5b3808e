"""Mined relations as files: plain arrays with the keys of their rows and columns, matched to a run by key."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from unreid.constraints.links import Links
from unreid.constraints.records import Records
from unreid.constraints.travel import TravelTable
from unreid.utils.errors import UserError
from unreid.utils.npz import ArraysError, read_arrays, write_arrays
from unreid.utils.torch_file import POINTER

VERSION = 1


@dataclass(frozen=True)
class RelationFile:
    """What one file says about the pairs of its rows and columns.

    Attributes:
        meta: dataset, mode, parameters, sources; plain JSON values. ``meta["kind"]`` names the relation, and
            ``meta["supervised"]`` says that identity labels went into it.
        rows: training tracklets, or queries.
        columns: the gallery; None on a training set, whose columns are its rows.
        links: pairs that overlap in time (TOC), or None.
        travel: plausibility of lags (STS), or None.
        matrix: float32 (rows, columns), only from an old file.
    """

    meta: dict[str, Any]
    rows: Records
    columns: Records | None = None
    links: Links | None = None
    travel: TravelTable | None = None
    matrix: np.ndarray | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), len(self.rows if self.columns is None else self.columns)

    def take(self, rows: np.ndarray, columns: np.ndarray) -> RelationFile:
        """Some rows and columns, in the given order."""
        return RelationFile(
            self.meta,
            self.rows.take(rows),
            None if self.columns is None else self.columns.take(columns),
            None if self.links is None else self.links.take(rows, columns),
            self.travel,
            None if self.matrix is None else self.matrix[np.ix_(rows, columns)],
        )


def save_relation(path: str | Path, relation: RelationFile) -> None:
    """Writes an ``.npz`` without objects; an older file of that name stays until the new one is whole."""
    arrays: dict[str, Any] = {"version": np.int64(VERSION), "meta": np.str_(json.dumps(relation.meta, sort_keys=True))}
    for side, records in (("row", relation.rows), ("col", relation.columns)):
        if records is not None:
            values = {name: getattr(records, name) for name in _COLUMNS}
            arrays |= {f"{side}_{_COLUMNS[name]}": value for name, value in values.items() if value is not None}
    if relation.links is not None:
        arrays |= {"toc_indptr": relation.links.start, "toc_indices": relation.links.index.astype(np.int32)}
    if relation.travel is not None:
        travel = relation.travel
        arrays |= {"sts_table": travel.table, "sts_bin": np.int64(travel.bin)}
        arrays |= {"sts_origin": np.int64(travel.origin), "sts_unknown": np.float64(travel.unknown)}
    if relation.matrix is not None:
        arrays["matrix"] = relation.matrix
    write_arrays(path, compressed=True, **arrays)


def read_relation(path: str | Path) -> RelationFile:
    """Reads a mined file; nothing in it is executed.

    Raises:
        UserError: the file is missing, a pointer, damaged, or its arrays contradict each other.
    """
    path = Path(path)
    refuse_pointer(path)
    try:
        arrays = read_arrays(path)
    except ArraysError as error:
        raise UserError(
            f"{path} is not a file of mined relations, or it is damaged ({error}); mine it again."
        ) from None
    try:
        return _decode(arrays)
    except (KeyError, ValueError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise UserError(f"{path} is no file of mined relations ({_sentence(error)}); mine it again.") from None


def align(
    relation: RelationFile,
    source: str | Path,
    rows: Sequence[str],
    columns: Sequence[str] | None = None,
    *,
    row_lengths: np.ndarray | None = None,
    column_lengths: np.ndarray | None = None,
    run: str = "",
) -> RelationFile:
    """The relation in the order of a run, whose records may be a subset of the file's.

    Args:
        rows, columns: keys of the run's records; columns None where the file is of a training set.
        row_lengths, column_lengths: int64 images of the run's records, compared with the file's where it knows them.
        run: how the run cuts its tracklets, for messages.

    Raises:
        UserError: the file is of the other kind (training or test), lacks a record, or knows it with other images.
    """
    if (columns is None) != (relation.columns is None):
        wanted, found = ("training", "test") if columns is None else ("test", "training")
        raise UserError(f"{source} relates {found} tracklets, a relation of {wanted} tracklets is needed here.")
    told = ", ".join(f"{name} {relation.meta[name]}" for name in ("mode", "dense_step") if relation.meta.get(name))
    about = f" (file: {told or 'unknown'}; run: {run or 'unknown'})"
    row = _positions(relation.rows, rows, row_lengths, source, about)
    column = row
    if relation.columns is not None and columns is not None:
        column = _positions(relation.columns, columns, column_lengths, source, about)
    return relation.take(row, column)


def refuse_pointer(path: Path) -> None:
    """Raises :class:`UserError` if the file is missing, or a pointer that git-lfs left in its place."""
    try:
        with path.open("rb") as file:
            start = file.read(len(POINTER))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    if start == POINTER:
        raise UserError(
            f"{path} is a git-lfs pointer, not the data: fetch it with 'git lfs pull', or mine the relation with "
            "unreid mine."
        )


def _positions(
    records: Records, keys: Sequence[str], lengths: np.ndarray | None, source: str | Path, about: str
) -> np.ndarray:
    known = {key: position for position, key in enumerate(records.keys.tolist())}
    found = [known.get(key, -1) for key in keys]
    if -1 in found:
        missing = keys[found.index(-1)]
        raise UserError(f"{source} does not know {missing}{about}: mine it with the config of this run.")
    positions = np.array(found, dtype=np.int64)
    if lengths is not None and (records.lengths >= 0).all():
        other = np.flatnonzero(records.lengths[positions] != lengths)
        if len(other):
            first = int(other[0])
            raise UserError(
                f"{source} knows {keys[first]} with {records.lengths[positions[first]]} images, the run has "
                f"{lengths[first]}{about}: mine it with the config of this run."
            )
    return positions


_COLUMNS = {
    "keys": "keys",
    "lengths": "len",
    "camids": "cam",
    "tracks": "track",
    "start": "start",
    "end": "end",
    "track_start": "track_start",
    "track_end": "track_end",
}


def _decode(arrays: dict[str, np.ndarray]) -> RelationFile:
    if int(arrays["version"]) != VERSION:
        raise ValueError(f"version {int(arrays['version'])}, not {VERSION}")
    meta = json.loads(str(arrays["meta"]))
    if not isinstance(meta, dict):
        raise ValueError("meta that is no table")
    rows = _records(arrays, "row")
    columns = _records(arrays, "col") if "col_keys" in arrays else None
    shape = (len(rows), len(rows if columns is None else columns))
    matrix = arrays.get("matrix")
    if matrix is not None and (matrix.shape != shape or matrix.dtype != np.float32):
        raise ValueError(f"matrix of shape {matrix.shape} for {shape}")
    if matrix is not None and not (np.isfinite(matrix).all() and (matrix >= 0).all()):
        raise ValueError("matrix holds values that are negative or not finite")
    return RelationFile(meta, rows, columns, _links(arrays, shape), _travel(arrays), matrix)


def _records(arrays: dict[str, np.ndarray], side: str) -> Records:
    columns = {name: arrays.get(f"{side}_{stored}") for name, stored in _COLUMNS.items()}
    present = {name: array for name, array in columns.items() if array is not None}
    missing = [item.name for item in fields(Records) if item.default is MISSING and item.name not in present]
    if missing:
        raise ValueError(f"it lacks {missing[0]} of its {'rows' if side == 'row' else 'columns'}")
    keys = present["keys"]
    if keys.dtype.kind != "U" or keys.ndim != 1 or len(np.unique(keys)) != len(keys):
        raise ValueError(f"{side}_keys are not a list of different names")
    for name, array in present.items():
        if name != "keys" and (array.dtype != np.int64 or array.shape != keys.shape):
            raise ValueError(f"{side}_{_COLUMNS[name]} does not fit {side}_keys")
    return Records(**present)


def _links(arrays: dict[str, np.ndarray], shape: tuple[int, int]) -> Links | None:
    if "toc_indptr" not in arrays:
        return None
    if not all(arrays[name].dtype.kind in "iu" and arrays[name].ndim == 1 for name in ("toc_indptr", "toc_indices")):
        raise ValueError("toc_indptr and toc_indices are no lists of positions")
    links = Links(arrays["toc_indptr"].astype(np.int64), arrays["toc_indices"].astype(np.int64), shape[1])
    if links.height != shape[0] or not links.is_whole():
        raise ValueError("toc_indptr and toc_indices contradict each other")
    return Links.from_pairs(links.rows(), links.index, shape)


def _travel(arrays: dict[str, np.ndarray]) -> TravelTable | None:
    if "sts_table" not in arrays:
        return None
    table, unknown = arrays["sts_table"], float(arrays["sts_unknown"])
    square = table.ndim == 3 and table.shape[0] == table.shape[1] and table.shape[2] % 2 == 1
    if not square or int(arrays["sts_origin"]) != table.shape[2] // 2 or int(arrays["sts_bin"]) < 1:
        raise ValueError(f"sts_table of shape {table.shape}")
    if not (table >= 0).all() or not (table <= 1).all() or not 0 <= unknown <= 1:
        raise ValueError("sts_table holds values outside 0..1")
    return TravelTable(table.astype(np.float32), int(arrays["sts_bin"]), unknown)


def _sentence(error: Exception) -> str:
    return f"it lacks {error.args[0]}" if isinstance(error, KeyError) else str(error) or type(error).__name__
