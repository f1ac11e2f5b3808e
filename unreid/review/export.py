"""What a review ends with: a table of identities, or a folder of links in which every identity is a folder."""

from __future__ import annotations

import csv
import io
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from unreid.constraints.review_file import NOISE
from unreid.review.crops import CropSet
from unreid.utils.errors import UserError
from unreid.utils.writing import atomic_write_bytes, writing

HEADER = ("path", "camera", "pid", "confidence")


def identities_table(crops: CropSet, labels: np.ndarray, confidence: np.ndarray) -> bytes:
    """The CSV of identities: path, camera, pid (-1: none) and confidence, sorted by path.

    Args:
        labels: int64 (N,), of the store.
        confidence: float32 (N,), see :meth:`~unreid.review.session.Session.confidence`.
    """
    buffer = io.StringIO()
    rows = csv.writer(buffer, lineterminator="\n")
    rows.writerow(HEADER)
    for place in sorted(range(len(crops)), key=lambda place: crops.keys[place]):
        label = int(labels[place])
        rows.writerow((crops.keys[place], crops.cameras[place], max(label, -1), f"{confidence[place]:.4f}"))
    return buffer.getvalue().encode("utf-8", "surrogateescape")


def export_identities(path: str | Path, crops: CropSet, labels: np.ndarray, confidence: np.ndarray) -> None:
    """Writes :func:`identities_table`, whole or not at all."""
    atomic_write_bytes(path, identities_table(crops, labels, confidence))


def export_links(folder: str | Path, crops: CropSet, labels: np.ndarray) -> int:
    """A new folder with one folder an identity, one of unassigned crops and one of noise, all of symbolic links.

    Returns:
        links made.

    Raises:
        UserError: the folder holds something already, or cannot be written.
    """
    folder = Path(folder)
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise UserError(f"{folder} holds something already: name a folder that is new or empty.")
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name[:100]}."))
        try:
            unfinished.chmod(0o755)
            width = len(str(max(len(crops) - 1, 0)))
            for place, path in enumerate(crops.paths):
                own = unfinished / _folder_name(int(labels[place]))
                own.mkdir(exist_ok=True)
                name = os.path.basename(path)
                os.symlink(path, own / f"{place:0{width}d}_{name[-180:]}")
            if folder.is_dir():
                folder.rmdir()
            os.rename(unfinished, folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    return len(crops)


def _folder_name(label: int) -> str:
    return f"identity_{label:05d}" if label >= 0 else "noise" if label == NOISE else "unassigned"
