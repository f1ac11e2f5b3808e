"""A few rendered identities in the layout of every dataset that a config names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from unreid.rendering.layouts import render_layout

LAYOUT_OF = {
    "Market1501": "market1501",
    "DukeMTMCreID": "dukemtmcreid",
    "MSMT17": "msmt17-v1",
    "VeRi776": "veri776",
    "MARS": "mars",
    "DukeMTMCVideoReID": "dukevideo",
}
SMALL_WORLDS = [
    *("DATASETS.SYNTHETIC.TRAIN_IDS", 4, "DATASETS.SYNTHETIC.TEST_IDS", 4),
    *("DATASETS.SYNTHETIC.CAMERAS", 3, "DATASETS.SYNTHETIC.IMAGES_PER_CAMERA", 3),
    *("DATASETS.SYNTHETIC_VIDEO.TRAIN_IDS", 4, "DATASETS.SYNTHETIC_VIDEO.TEST_IDS", 4),
    *("DATASETS.SYNTHETIC_VIDEO.CAMERAS", 3, "DATASETS.SYNTHETIC_VIDEO.FRAMES", [4, 6]),
]


@pytest.fixture(scope="session")
def dataset_root(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], Path]:
    """DATASETS.ROOT with the named datasets, each rendered the first time it is asked for."""
    root = tmp_path_factory.mktemp("layouts")
    done: set[str] = set()

    def provide(names: list[str]) -> Path:
        for name in set(names) - done:
            if name in LAYOUT_OF:
                render_layout(LAYOUT_OF[name], root, ids=4, cameras=3, images=3, size=(64, 32), workers=1)
            done.add(name)
        return root

    return provide
