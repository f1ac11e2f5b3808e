"""A vector store behind a URI: a folder on this machine, a bucket, or a server, through LanceDB.

A folder needs no server. ``s3://``, ``gs://`` and ``az://`` put the same tables into a bucket, ``db://`` asks a LanceDB
server or cluster (key and address from ``LANCEDB_API_KEY`` and ``LANCEDB_HOST``). It was chosen by measurement.
"""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unreid.utils.errors import UserError
from unreid.utils.progress import task
from unreid.workbench.feature_table import FeatureMeta, FeatureTable, parse_meta
from unreid.workbench.gallery import Cameras, Hit

logger = logging.getLogger(__name__)

INDEXED_FROM = 100_000
"""Rows from which on an approximate index is built; below it a scan takes milliseconds and is exact."""
_TABLE, _META = "vectors", "unreid"
_BLOCK = 1 << 14
_PROBES, _REFINE = 40, 10  # lists read for a query, and how many times k rows are compared with their full vectors


def is_remote(uri: str) -> bool:
    """Whether a URI names something other than a folder of this machine."""
    return "://" in uri and not uri.startswith("file://")


def build_store(uri: str, table: FeatureTable, pids: Sequence[str], *, exact: bool = False) -> None:
    """Puts a feature table into a new store, or in the place of the one that is there.

    A folder is complete or not there: it is made beside its place and renamed.

    Args:
        uri: a folder, or see the module.
        table: N vectors.
        pids: of each row.
        exact: no approximate index, however many rows.

    Raises:
        UserError: the package is missing, or the store cannot be reached or written.
    """
    if is_remote(uri):
        _fill(connect(uri), table, pids, exact)
        return
    target = Path(uri.removeprefix("file://"))
    draft = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _fill(connect(str(draft)), table, pids, exact)
        old = target.with_name(f".{target.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            os.rename(target, old)
        os.rename(draft, target)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise UserError(f"The store {uri} cannot be written: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


class LanceStore:
    """An existing store.

    Args:
        uri: a folder, or see the module.

    Raises:
        UserError: there is none, it holds something else, cannot be reached, or the package is missing.
    """

    def __init__(self, uri: str) -> None:
        if not is_remote(uri) and not Path(uri.removeprefix("file://")).is_dir():
            raise UserError(f"There is no index {uri}; unreid index makes one.")
        database = connect(uri)
        try:
            self.meta: FeatureMeta = parse_meta(database.open_table(_META).to_arrow().column("meta")[0].as_py())
            self._rows = database.open_table(_TABLE)
        except Exception as error:  # LanceDB's errors have no common class
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise UserError(f"{uri} is no index of unreid: {reason}") from None

    def __len__(self) -> int:
        return self._rows.count_rows()

    def search(self, vector: np.ndarray, k: int, cameras: Cameras, *, vectors: bool = False) -> list[Hit]:
        """See :class:`~unreid.workbench.gallery.Gallery`."""
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
        found = query.to_arrow().to_pydict()
        rows = zip(*(found[name] for name in columns[:4]))
        return [
            Hit(
                path if isinstance(path, str) else os.fsdecode(path),
                camera,
                pid,
                1 - distance,
                np.array(found["vector"][place], np.float32) if vectors else None,
            )
            for place, (path, camera, pid, distance) in enumerate(rows)
        ]


def connect(uri: str) -> Any:
    """LanceDB's connection; :class:`UserError` if the package is missing or the place cannot be reached."""
    try:
        import lancedb
    except ImportError:
        raise UserError(
            f"The index {uri} needs the package lancedb, which is not installed: install unreid[store], or search the "
            "feature table itself."
        ) from None
    try:
        return lancedb.connect(uri, host_override=os.environ.get("LANCEDB_HOST"))
    except Exception as error:  # LanceDB's errors have no common class
        raise UserError(f"The index {uri} cannot be reached: {str(error).splitlines()[0][:200]}") from None


def _fill(database: Any, table: FeatureTable, pids: Sequence[str], exact: bool) -> None:
    import pyarrow as pa

    from unreid.workbench.feature_parquet import as_texts

    paths = as_texts(pa, table.paths)
    width = table.vectors.shape[1]
    texts = [("camera", pa.string()), ("pid", pa.string())]
    schema = pa.schema([("path", paths.type), *texts, ("vector", pa.list_(pa.float32(), width))])

    with task("storing", len(table), "images") as work, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)

        def batches() -> Iterator[Any]:
            for start in range(0, len(table), _BLOCK):
                part = slice(start, start + _BLOCK)
                rows = np.ascontiguousarray(table.vectors[part])
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), width)
                columns = [paths[part], pa.array(table.cameras[part]), pa.array(list(pids[part])), vectors]
                yield pa.record_batch(columns, schema=schema)
                work.advance(len(rows))

        stored = database.create_table(_TABLE, batches(), schema=schema, mode="overwrite")
        database.create_table(_META, pa.table({"meta": [table.meta.to_json()]}), mode="overwrite")
    if len(table) >= INDEXED_FROM and not exact:
        from lancedb.index import Bitmap, IvfPq

        with task("index"):
            stored.create_index("vector", config=IvfPq(distance_type="cosine"))
            stored.create_index("camera", config=Bitmap())


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
