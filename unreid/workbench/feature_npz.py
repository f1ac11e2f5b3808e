"""Feature tables as archives of NumPy arrays: no package needed, the vectors written block by block."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from unreid.utils.npz import ArraysError, read_arrays
from unreid.utils.writing import replacing


def write_npz(
    path: str | Path, paths: Sequence[str], cameras: Sequence[str], blocks: Iterable[np.ndarray], meta: str
) -> None:
    """See :func:`unreid.workbench.feature_table.write_rows`. The same rows give the same bytes."""
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, texts in (("path", paths), ("camera", cameras), ("meta", meta)):
            with _entry(archive, name) as entry:
                np.lib.format.write_array(entry, np.array(texts, dtype=str), allow_pickle=False)
        with _entry(archive, "vector") as entry:
            written = 0
            for block in blocks:
                if not written:
                    header = {"descr": "<f4", "fortran_order": False, "shape": (len(paths), block.shape[1])}
                    np.lib.format.write_array_header_1_0(entry, header)
                entry.write(np.ascontiguousarray(block, dtype="<f4").data)
                written += len(block)
        if written != len(paths):
            raise ValueError(f"{written} vectors for {len(paths)} paths")


def read_npz(path: str | Path) -> tuple[list[str], list[str], np.ndarray, str]:
    """Paths, cameras, vectors float32 (N, D), meta; :class:`ValueError` or :class:`KeyError` if they are not there."""
    try:
        arrays = read_arrays(path)
    except ArraysError as error:
        raise ValueError(str(error)) from None
    paths, cameras, meta = arrays["path"], arrays["camera"], arrays["meta"]
    if any(array.dtype.kind != "U" for array in (paths, cameras, meta)) or paths.ndim != 1 or meta.ndim:
        raise ValueError("its paths, cameras or meta are no texts")
    return paths.tolist(), cameras.tolist(), arrays["vector"], str(meta)


def _entry(archive: zipfile.ZipFile, name: str) -> IO[Any]:
    return archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True)
