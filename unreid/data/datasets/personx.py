"""PersonX."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import ClassVar

from unreid.data.datasets.base import DATASETS
from unreid.data.datasets.named_files import NamedFilesDataset
from unreid.data.datasets.statistics import Counts

logger = logging.getLogger(__name__)

_CAMERAS = {3: 0, 4: 1, 8: 2, 10: 3, 11: 4, 12: 5}


@DATASETS.register("PersonX")
class PersonX(NamedFilesDataset):
    """PersonX: 1,266 rendered persons from known viewpoints, six of its cameras.

    Citation: Sun and Zheng, Dissecting Person Re-identification from the Viewpoint of Viewpoint, CVPR 2019.
    Home page: https://github.com/sxzrt/Instructions-of-the-PersonX-dataset

    Layout::

        PersonX/
            bounding_box_train/0001_c12s0_02.jpg         identity 1, camera 12 (they are 3, 4, 8, 10, 11 and 12)
            query/...
            bounding_box_test/...

    Identities / images / cameras: train 410 / 9,840 / 6; query 856 / 5,136 / 6; gallery 856 / 30,816 / 6. Nothing is
    dropped.
    """

    name = "PersonX"
    folders: tuple[str, ...] = ("PersonX", "personX", "personx")
    required = ("bounding_box_train", "query", "bounding_box_test")
    example = "0001_c12s0_02.jpg"
    official: ClassVar = {
        "train": (Counts(410, 9_840, 6),),
        "query": (Counts(856, 5_136, 6),),
        "gallery": (Counts(856, 30_816, 6),),
    }

    def number_cameras(self, found: Mapping[int, str]) -> dict[int, int]:
        """0..5 for the six camera numbers of the set, then 6, 7, ... for others, as other subsets of PersonX have."""
        others = sorted(set(found) - set(_CAMERAS))
        if others:
            logger.warning(
                "PersonX: cameras %s are none of the set's six (first: %s) and are numbered after them",
                ", ".join(map(str, others[:10])),
                found[others[0]],
            )
        return {**_CAMERAS, **{camera: len(_CAMERAS) + k for k, camera in enumerate(others)}}
