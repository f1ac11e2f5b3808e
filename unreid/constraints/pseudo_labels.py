"""Pseudo labels as a file: what a run found out, by key, for other runs and for the miner."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unreid.constraints.relation_file import refuse_pointer
from unreid.utils.errors import UserError
from unreid.utils.npz import ArraysError, read_arrays, write_arrays


def save_pseudo_labels(path: str | Path, keys: Sequence[str], labels: np.ndarray, meta: dict[str, Any]) -> None:
    """Writes ``keys`` (see :func:`~unreid.constraints.records.record_keys`), int64 ``labels`` and ``meta`` as JSON."""
    arrays = {"keys": np.array(keys, dtype=str), "labels": labels.astype(np.int64), "meta": np.str_(json.dumps(meta))}
    write_arrays(path, compressed=True, **arrays)


def load_pseudo_labels(path: str | Path, keys: Sequence[str]) -> tuple[np.ndarray, dict[str, Any]]:
    """int64 labels in the order of ``keys``, -1 outlier, and the file's meta.

    Raises:
        UserError: the file is missing or damaged, or does not know a key.
    """
    path = Path(path)
    refuse_pointer(path)
    try:
        arrays = read_arrays(path)
        stored, labels, meta = arrays["keys"], arrays["labels"], json.loads(str(arrays["meta"]))
        if stored.dtype.kind != "U" or stored.ndim != 1 or stored.shape != labels.shape:
            raise ValueError(f"{stored.shape} keys for {labels.shape} labels")
        if labels.dtype.kind not in "iu" or (len(labels) and labels.min() < -1):
            raise ValueError("labels that are not -1, 0, 1 ...")
        if not isinstance(meta, dict):
            raise ValueError("meta that is no table")
    except (ArraysError, ValueError, KeyError, RecursionError) as error:
        reason = f"it lacks {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path} is no file of pseudo labels ({reason}); a run writes one into OUTPUT_DIR.") from None
    known = dict(zip(stored.tolist(), labels.astype(np.int64).tolist()))
    missing = next((key for key in keys if key not in known), None)
    if missing is not None:
        raise UserError(f"{path} does not know {missing}: it comes from a run on other tracklets.")
    return np.array([known[key] for key in keys], dtype=np.int64), meta
