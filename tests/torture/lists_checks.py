"""What trials with lists and layouts ask of a dataset."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from unreid.data.datasets.base import ReIDDataset
from unreid.utils.errors import UserError


def touch(path: Path) -> Path:
    """An empty file, as listing opens no image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def refused(read: Callable[[], object], *words: str) -> str:
    """Asserts that reading ends in one sentence that holds the words."""
    try:
        read()
    except UserError as error:
        text = str(error)
        assert "\n" not in text, f"not one sentence: {text!r}"
        for word in words:
            assert word in text, f"{word!r} is not in the sentence: {text}"
        return "refused"
    raise AssertionError(f"read, but it must be refused with {words}")


def said(log: list[str], *words: str) -> None:
    """Asserts that one message of the log holds all words."""
    assert any(all(word in message for word in words) for message in log), f"nothing said of {words}: {log}"


def counts(dataset: ReIDDataset, split: str, *, images: int, cameras: int, ids: int | None = None) -> None:
    """Asserts what a split holds."""
    found = getattr(dataset, split)
    paths = [path for tracklet in found.tracklets for path in tracklet.paths]
    camids = {tracklet.camid for tracklet in found.tracklets}
    assert len(paths) == images, f"{split}: {len(paths)} images of {images}"
    assert len(set(paths)) == images, f"{split}: an image is listed twice"
    assert min(camids) >= 0, f"{split}: negative camera in {camids}"
    assert len(camids) == cameras, f"{split}: cameras {sorted(camids)} instead of {cameras}"
    if ids is not None:
        assert len(set(found.truth.pids.tolist())) == ids, f"{split}: identities {set(found.truth.pids.tolist())}"


def no_leak(train: list[str], *tests: ReIDDataset) -> None:
    """Asserts that no training file is a test file, by what the file system says of each of them."""
    held = {_node(p) for d in tests if d.has_test for s in (d.query, d.gallery) for t in s.tracklets for p in t.paths}
    leaked = [path for path in train if _node(path) in held]
    assert not leaked, f"{len(leaked)} test images are trained on, {leaked[0]}"


def _node(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
