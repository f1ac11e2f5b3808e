"""What a review ends with: identities, a folder of links in which every identity is a folder, and the answers."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from unreid.constraints.review_file import COLUMNS, NOISE, SPEAKS_FOR, read_decisions
from unreid.review.crops import CropSet
from unreid.review.session import Session
from unreid.utils.errors import UserError
from unreid.utils.writing import atomic_write_bytes, csv_text, writing
from unreid.workbench import IdentityTable
from unreid.workbench.identity_table import NO_IDENTITY


def identities(session: Session) -> IdentityTable:
    """The identities as they are now, sorted by path; noise and unassigned crops have none.

    What a person decided has confidence 1, see :meth:`~unreid.review.session.Session.confidence`.
    """
    with session.lock:
        crops, labels, confidence = session.crops, session.labels.copy(), session.confidence()
    order = sorted(range(len(crops)), key=lambda place: crops.keys[place])
    features = {"features": crops.features_file} if crops.features_file else {}
    return IdentityTable(
        [crops.keys[place] for place in order],
        [crops.cameras[place] for place in order],
        [str(labels[place]) if labels[place] >= 0 else NO_IDENTITY for place in order],
        confidence[order],
        {"root": crops.root, "review": str(session.store.path), **features},
    )


def export_answers(path: str | Path, store: Path) -> int:
    """Writes the must-links, cannot-links and noise of a store as a CSV that ``CLUSTER.REVIEW`` reads, too.

    Returns:
        answers written.
    """
    decisions = read_decisions(store)
    rows = [(one.first, one.second, one.verdict, SPEAKS_FOR[one.whole]) for one in decisions]
    atomic_write_bytes(path, csv_text([COLUMNS, *rows]).encode("utf-8", "surrogateescape"))
    return len(decisions)


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
                stem = os.fsencode(os.path.basename(path))[-200:]  # names end at 255 bytes
                os.symlink(os.path.abspath(path), own / f"{place:0{width}d}_{os.fsdecode(stem)}")
            if folder.is_dir():
                folder.rmdir()
            os.rename(unfinished, folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    return len(crops)


def _folder_name(label: int) -> str:
    return f"identity_{label:05d}" if label >= 0 else "noise" if label == NOISE else "unassigned"
