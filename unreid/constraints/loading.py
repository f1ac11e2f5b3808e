"""Finds the file of a relation, mined or old, and reads it for the records of a run."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from unreid.constraints.legacy_pickle import links_from, matrix_from, read_legacy
from unreid.constraints.links import Links
from unreid.constraints.records import Records
from unreid.constraints.relation_file import RelationFile, align, read_relation
from unreid.utils.errors import UserError
from unreid.utils.text import read_text

logger = logging.getLogger(__name__)

CANNOT_LINK = "cannot_link"
OVERLAP = "overlap"
SPATIO_TEMPORAL = "spatio_temporal"
SAME_CAMERA = "same_camera"
MINE = "unreid mine --config-file <the config of this run>"


def find_file(folder: str | Path, path: str, key: str) -> Path:
    """The file of a relation: a mined ``.npz`` of that stem, else the path itself.

    Args:
        folder: ``PICKLE_PATH``, where relative paths start.
        path: as the config has it.

    Raises:
        UserError: neither exists.
    """
    given = Path(folder) / path
    mined = given.with_suffix(".npz")
    for candidate in (mined, given):
        if path and os.path.isfile(candidate):
            return candidate
    raise UserError(f"{key}: there is neither {mined} nor {given.name} beside it; mine it: {MINE}.")


def keys_file(path: Path) -> Path:
    """Where the keys of an old file's rows and columns are expected."""
    return path.with_suffix(".keys.json")


def load_relation(
    path: Path, kind: str, rows: Records, columns: Records | None = None, *, run: str = ""
) -> RelationFile:
    """The relation ``kind`` of a file, in the order of the run's records.

    Args:
        path: ``.npz``, or an old pickle beside a list of its keys (see :func:`keys_file`).
        rows, columns: the run's records; columns None on a training set.
        run: how the run cuts its tracklets, for messages.

    Raises:
        UserError: the file is missing, refused, damaged, of another kind, or of other records.
    """
    relation = read_relation(path) if path.suffix == ".npz" else convert_legacy(path, kind, *_listed_keys(path))
    _check_kind(relation, kind, path)
    if relation.meta.get("supervised"):
        logger.warning("%s was mined WITH identity labels: results of this run are not unsupervised", path)
    return align(
        relation,
        path,
        rows.keys.tolist(),
        None if columns is None else columns.keys.tolist(),
        row_lengths=rows.lengths,
        column_lengths=None if columns is None else columns.lengths,
        run=run,
    )


def convert_legacy(path: Path, kind: str, rows: list[str], columns: list[str] | None) -> RelationFile:
    """An old pickle as a relation, given the keys of its rows and columns (None: the rows').

    Raises:
        UserError: the pickle is refused, damaged, or does not hold what ``kind`` needs in that shape.
    """
    content = read_legacy(path)
    shape = (len(rows), len(rows if columns is None else columns))
    links: Links | None = None
    matrix: np.ndarray | None = None
    try:
        if kind == CANNOT_LINK:
            links = links_from(content, shape)
        else:
            matrix = matrix_from(content, shape)
            if matrix.size and matrix.min() < 0:
                raise ValueError("a matrix with negative values, which would lower distances")
        if kind == OVERLAP and matrix is not None:
            if not np.isin(matrix, (0.0, 1.0)).all():
                raise ValueError("a matrix with values other than 0 and 1")
            row, column = np.nonzero(matrix)
            links, matrix = Links.from_pairs(row, column, shape), None
    except ValueError as error:
        raise UserError(f"{path} does not fit the {shape[0]} x {shape[1]} keys: it holds {error}.") from None
    sides = _keys_only(rows), None if columns is None else _keys_only(columns)
    return RelationFile({"kind": kind, "source": path.name}, *sides, links=links, matrix=matrix)


def read_keys(path: Path) -> tuple[list[str], list[str] | None]:
    """Keys of rows and, unless they are the same, of columns from JSON ``{"rows": [...], "columns": [...]}``.

    Raises:
        UserError: the file is missing or holds something else.
    """
    try:
        content = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"The key list {path} cannot be read: {error}.") from None
    lists: list[Any] = [content.get(name) for name in ("rows", "columns")] if isinstance(content, dict) else [None]
    if not all(keys is None or _is_key_list(keys) for keys in lists) or lists[0] is None:
        raise UserError(f'{path} must hold {{"rows": [...], "columns": [...]}} with different paths of images.')
    return lists[0], lists[1]


def _is_key_list(keys: Any) -> bool:
    return isinstance(keys, list) and all(isinstance(key, str) for key in keys) and len(set(keys)) == len(keys)


def _listed_keys(path: Path) -> tuple[list[str], list[str] | None]:
    listed = keys_file(path)
    if os.path.isfile(listed):
        return read_keys(listed)
    read_legacy(path)  # a file that is refused should be named for that, not for a missing list
    raise UserError(
        f"{path} does not say which tracklet its rows and columns are: put their keys (path of the first image below "
        f'the dataset\'s folder) into {listed} as {{"rows": [...], "columns": [...]}}, or mine a new file: {MINE}.'
    )


def _keys_only(keys: list[str]) -> Records:
    unknown = np.full(len(keys), -1, dtype=np.int64)
    return Records(np.array(keys, dtype=str), unknown, unknown, unknown)


def _check_kind(relation: RelationFile, kind: str, path: Path) -> None:
    there = {
        CANNOT_LINK: relation.links is not None and relation.columns is None,
        OVERLAP: relation.links is not None and relation.columns is not None,
        SPATIO_TEMPORAL: relation.travel is not None or relation.matrix is not None,
        SAME_CAMERA: relation.meta.get("kind") == SAME_CAMERA,
    }
    if not there[kind]:
        found = str(relation.meta.get("kind", "unknown")).replace("_", "-")
        raise UserError(f"{path} holds a {found} relation where a {kind.replace('_', '-')} relation is needed.")
