"""A vector store behind a URI: a folder on this machine, a bucket, or a server, through LanceDB.

A folder needs no server. ``s3://``, ``gs://`` and ``az://`` put the same tables into a bucket, ``db://`` asks a LanceDB
server or cluster; where their keys come from, :mod:`unreid.workbench.places` says. It was chosen by measurement.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from unreid.utils.errors import UserError
from unreid.utils.progress import task
from unreid.workbench.feature_table import FeatureMeta, FeatureTable, parse_meta
from unreid.workbench.gallery import Cameras, Hit
from unreid.workbench.places import access, folder_of, is_remote, is_there, require_store, set_aside

logger = logging.getLogger(__name__)

INDEXED_FROM = 100_000
"""Rows from which on an approximate index is built; below it a scan takes milliseconds and is exact."""
_TABLE, _META = "vectors", "unreid"
_BLOCK = 1 << 14
_PROBES, _REFINE = 40, 10  # lists read for a query, and how many times k rows are compared with their full vectors
_UNFINISHED = ""  # stands for the meta while a store is written


def build_store(uri: str, table: FeatureTable, pids: Sequence[str], *, exact: bool = False) -> None:
    """Puts a feature table into a new store, or in the place of the one that is there.

    A folder is complete or not there: it is made beside its place and renamed. Elsewhere a store that was not written
    to its end says so when it is opened.

    Args:
        uri: a folder, or see the module.
        exact: no approximate index, however many rows.

    Raises:
        UserError: the package is missing, or the store cannot be reached or written.
    """
    if is_remote(uri):
        with _reaching(uri):
            _fill(connect(uri), table, pids, exact)
        return
    target = folder_of(uri)
    draft = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _fill(connect(str(draft)), table, pids, exact)
        old = set_aside(target)
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            os.rename(target, old)
        os.rename(draft, target)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, RuntimeError) as error:  # LanceDB's own are RuntimeErrors
        reason = getattr(error, "strerror", None) or _reason(error)
        raise UserError(f"The index {uri} cannot be written: {reason}.") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_replaceable(uri: str, overwrite: bool) -> None:
    """Whether a store may be put into a bucket or a server: nothing but a store is ever replaced.

    Raises:
        UserError: something is there, or the place cannot be reached.
    """
    with _reaching(uri):
        database = connect(uri)
        ours, theirs = (_holds(database, name) for name in (_META, _TABLE))
    if theirs and not ours:
        raise UserError(f"-o: {uri} has a table {_TABLE!r} that is no index of unreid: choose another name.")
    if ours and not overwrite:
        raise UserError(f"-o: {uri} exists: choose another name, or give --overwrite.")


class LanceStore:
    """An existing store.

    Args:
        uri: a folder, or see the module.

    Raises:
        UserError: there is none, it holds something else, cannot be reached, or the package is missing.
    """

    def __init__(self, uri: str) -> None:
        if not is_remote(uri) and not is_there(uri):
            raise UserError(f"There is no index {uri}; unreid index makes one.")
        self._uri = uri
        with _reaching(uri):
            database = connect(uri)
            try:
                text = (
                    database.open_table(_META).search().select(["meta"]).limit(1).to_arrow().column("meta")[0].as_py()
                )
                if text == _UNFINISHED:
                    raise UserError(f"{uri} was not written to its end: make it anew with unreid index.")
                self.meta: FeatureMeta = parse_meta(text)
                self._rows = database.open_table(_TABLE)
                self.width: int = self._rows.schema.field("vector").type.list_size
            except UserError:
                raise
            except Exception as error:  # LanceDB's errors have no common class
                if is_remote(uri) and isinstance(error, (OSError, RuntimeError)) and not _is_missing(error):
                    raise
                raise UserError(f"{uri} is no index of unreid: {_reason(error)}.") from None

    def __len__(self) -> int:
        return self._rows.count_rows()

    def search(self, vector: np.ndarray, k: int, cameras: Cameras, *, vectors: bool = False) -> list[Hit]:
        columns = ["path", "camera", "pid", "_distance", *(["vector"] if vectors else [])]
        query = self._rows.search(np.asarray(vector, np.float32)).distance_type("cosine").limit(k).select(columns)
        query = query.nprobes(_PROBES).refine_factor(_REFINE)
        rules = []
        if cameras.only:
            rules.append(f"camera IN ({', '.join(map(_quoted, cameras.only))})")
        if cameras.without:
            rules.append(f"camera != {_quoted(cameras.without)}")
        if rules:
            query = query.where(" AND ".join(rules), prefilter=True)
        with _reaching(self._uri):
            found = query.to_arrow().to_pydict()
        rows = zip(*(found[name] for name in columns[:4]))
        return [
            Hit(
                os.fsdecode(path),
                camera,
                os.fsdecode(pid),
                1 - distance,
                np.array(found["vector"][place], np.float32) if vectors else None,
            )
            for place, (path, camera, pid, distance) in enumerate(rows)
        ]


def connect(uri: str) -> Any:
    """LanceDB's connection; :class:`UserError` if the package is missing or the place cannot be reached."""
    os.environ.setdefault("LANCEDB_LOG", "error")  # it warns of every table that is new
    require_store(uri)
    import lancedb

    with _reaching(uri):
        return lancedb.connect(uri, host_override=os.environ.get("LANCEDB_HOST"))


@contextlib.contextmanager
def _reaching(uri: str) -> Iterator[None]:
    """The block asks a bucket or a server: what goes wrong there is one sentence with the way out."""
    try:
        yield
    except UserError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # LanceDB's errors are some of these
        if not is_remote(uri):
            raise
        raise UserError(f"The index {uri} cannot be reached ({_reason(error)}): check {access(uri)}.") from None


def _holds(database: Any, name: str) -> bool:
    try:
        database.open_table(name)
    except (ValueError, OSError, RuntimeError) as error:
        if _is_missing(error):
            return False
        raise
    return True


def _is_missing(error: Exception) -> bool:
    return "not found" in str(error).lower() or isinstance(error, FileNotFoundError)


def _reason(error: Exception) -> str:
    """The part of an error of LanceDB that is for people."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return re.split(r" \{|, /", text)[0].rstrip(".: ")[:200]


def _fill(database: Any, table: FeatureTable, pids: Sequence[str], exact: bool) -> None:
    import pyarrow as pa

    from unreid.workbench.feature_parquet import as_texts

    paths, names = as_texts(pa, table.paths), as_texts(pa, pids)
    width = table.vectors.shape[1]
    texts = [("path", paths.type), ("camera", pa.string()), ("pid", names.type)]
    schema = pa.schema([*texts, ("vector", pa.list_(pa.float32(), width))])

    with task("storing", len(table), "images") as work, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)

        def batches() -> Iterator[Any]:
            for start in range(0, len(table), _BLOCK):
                part = slice(start, start + _BLOCK)
                rows = np.ascontiguousarray(table.vectors[part])
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), width)
                columns = [paths[part], pa.array(table.cameras[part]), names[part], vectors]
                yield pa.record_batch(columns, schema=schema)
                work.advance(len(rows))

        database.create_table(_META, pa.table({"meta": [_UNFINISHED]}), mode="overwrite")
        stored = database.create_table(_TABLE, batches(), schema=schema, mode="overwrite")
    if len(table) >= INDEXED_FROM and not exact:
        from lancedb.index import Bitmap, IvfPq

        with task("index"):
            stored.create_index("vector", config=IvfPq(distance_type="cosine"))
            stored.create_index("camera", config=Bitmap())
    database.create_table(_META, pa.table({"meta": [table.meta.to_json()]}), mode="overwrite")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
