"""Feature tables as Parquet files, which pandas, DuckDB, Spark and Arrow read as they are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from unreid.utils.packages import require_packages
from unreid.utils.writing import replacing

META = b"unreid"
ROWS = 1 << 16
"""Rows of a row group: 128 MiB of 512 numbers."""


def require_arrow(path: str | Path) -> None:
    """Raises :class:`UserError` unless the package that writes and reads Parquet is there."""
    require_packages(path, "pyarrow", way_out="install unreid[workbench], or use a table that ends in .npz")


def _arrow(path: str | Path) -> tuple[Any, Any]:
    require_arrow(path)
    import pyarrow
    import pyarrow.parquet

    return pyarrow, pyarrow.parquet


def write_parquet(
    path: str | Path, paths: Sequence[str], cameras: Sequence[str], blocks: Iterable[np.ndarray], meta: str
) -> None:
    """See :func:`unreid.workbench.feature_table.write_rows`. The same rows in the same blocks give the same bytes."""
    pa, pq = _arrow(path)
    names = as_texts(pa, paths)
    with replacing(path) as file, ExitStack() as stack:
        writer, written = None, 0
        for block in blocks:
            width = block.shape[1]
            schema = pa.schema(
                [("path", names.type), ("camera", pa.string()), ("vector", pa.list_(pa.float32(), width))],
                metadata={META: meta.encode()},
            )
            if writer is None:
                # Neither packing nor a dictionary makes vectors smaller.
                packed = {"path": "zstd", "camera": "zstd", "vector.list.element": "none"}
                options = {"compression": packed, "use_dictionary": ["camera"]}
                writer = stack.enter_context(pq.ParquetWriter(file, schema, **options))
            for start in range(0, len(block), ROWS):
                rows = np.ascontiguousarray(block[start : start + ROWS], dtype=np.float32)
                stop = written + len(rows)
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), width)
                columns = [names[written:stop], pa.array(cameras[written:stop], pa.string()), vectors]
                writer.write_table(pa.table(columns, schema=schema), row_group_size=ROWS)
                written = stop
        if writer is None or written != len(paths):
            raise ValueError(f"{written} vectors for {len(paths)} paths")


def read_parquet(path: str | Path) -> tuple[list[str], list[str], np.ndarray, str]:
    """Paths, cameras, vectors float32 (N, D), meta; :class:`ValueError` or :class:`KeyError` if they are not there."""
    pa, pq = _arrow(path)
    try:
        file = pq.ParquetFile(path)
        schema = file.schema_arrow
        meta = (schema.metadata or {}).get(META)
        if meta is None:
            raise ValueError("its metadata has no entry 'unreid'")
        kind = schema.field("vector").type
        if not pa.types.is_fixed_size_list(kind) or kind.value_type != pa.float32():
            raise ValueError(f"its column vector is {kind} and not fixed_size_list<float32>")
        vectors = np.empty((file.metadata.num_rows, kind.list_size), dtype=np.float32)
        paths: list[str] = []
        cameras: list[str] = []
        for batch in file.iter_batches(batch_size=ROWS, columns=["path", "camera", "vector"]):
            values = batch.column("vector").flatten()
            if len(values) != len(batch) * kind.list_size or values.null_count:
                raise ValueError("a vector is missing")
            vectors[len(paths) : len(paths) + len(batch)] = values.to_numpy().reshape(len(batch), -1)
            paths += map(os.fsdecode, batch.column("path").to_pylist())
            cameras += batch.column("camera").to_pylist()
        if not all(isinstance(text, str) for text in (*paths, *cameras)):
            raise ValueError("a path or a camera is missing")
    except (pa.ArrowException, OSError) as error:
        raise ValueError(str(error).splitlines()[0][:200]) from None
    return paths, cameras, vectors, meta.decode()


def as_texts(pa: Any, paths: Sequence[str]) -> Any:
    """An array of strings, or of bytes where one is not UTF-8."""
    try:
        return pa.array(paths, pa.string())
    except UnicodeEncodeError:
        return pa.array([os.fsencode(path) for path in paths], pa.binary())
