"""A set of ninety crops: six identities in three cameras, found with faults that a person would mend."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unreid.review import CropSet, ReviewServer, Session, Store

HOSTILE = "<img src=x onerror='window.hacked=1'>"
IDENTITIES, CAMERAS, EACH = 6, 3, 5
TRUTH = np.repeat(np.arange(IDENTITIES), CAMERAS * EACH)


def found() -> np.ndarray:
    """Labels: identity 0 in two parts, identities 4 and 5 in one cluster, one crop alone, one unassigned."""
    labels = TRUTH.copy()
    labels[:EACH] = 6
    labels[TRUTH == 5] = 4
    labels[TRUTH == 3] = 5
    labels[20] = 2
    labels[21] = -1
    return np.unique(labels, return_inverse=True)[1] - 1


def make_crops(folder: Path) -> CropSet:
    """The set, with images in ``folder``; one of them is no image, one has a name that is code."""
    rng = np.random.default_rng(0)
    keys, paths, cameras = [], [], []
    looks = rng.normal(size=(IDENTITIES, 16))
    views = 0.4 * rng.normal(size=(CAMERAS, 16))
    features = np.zeros((len(TRUTH), 16), dtype=np.float32)
    for place, identity in enumerate(TRUTH.tolist()):
        camera = place // EACH % CAMERAS
        name = f"{place:03d}{HOSTILE if place == 0 else ''}.png".replace("/", "_")
        path = folder / f"c{camera}" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        if place == 30:
            path.write_bytes(b"no image")
        else:
            colour = tuple(int(value) for value in 40 + 30 * np.array([identity, camera, place % 5]))
            Image.new("RGB", (32, 64), colour).save(path)
        keys.append(f"c{camera}/{name}")
        paths.append(str(path))
        cameras.append(f"cam {camera} {HOSTILE}")
        features[place] = looks[identity] + views[camera] + 0.15 * rng.normal(size=16)
    return CropSet(keys, paths, cameras, found(), features, str(folder))


@contextmanager
def serving(crops: CropSet, store: Path) -> Iterator[ReviewServer]:
    """A server of the set, in a thread."""
    with Store.open(store, crops.keys, crops.labels) as opened:
        server = ReviewServer(Session(crops, opened), 0)
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            server.close()
            thread.join(10)


@pytest.fixture
def crops(tmp_path: Path) -> CropSet:
    return make_crops(tmp_path / "images")


@pytest.fixture
def server(crops: CropSet, tmp_path: Path) -> Iterator[ReviewServer]:
    with serving(crops, tmp_path / "review.sqlite") as found:
        yield found
