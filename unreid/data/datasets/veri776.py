"""VeRi-776."""

from __future__ import annotations

from typing import ClassVar

from unreid.data.datasets.base import DATASETS
from unreid.data.datasets.named_files import NamedFilesDataset
from unreid.data.datasets.statistics import Counts


@DATASETS.register("VeRi776", "VeRi")
class VeRi776(NamedFilesDataset):
    """VeRi-776: 776 vehicles seen by twenty traffic cameras.

    Citation: Liu et al., A Deep Learning-Based Approach to Progressive Vehicle Re-identification for Urban
    Surveillance, ECCV 2016.
    Home page: https://github.com/JDAI-CV/VeRidataset

    Layout::

        VeRi/
            image_train/0001_c001_00016450_0.jpg         vehicle 1, camera 1
            image_query/0002_c002_00030600_0.jpg
            image_test/0002_c011_00081135_0.jpg

    Identities / images / cameras: train 576 / 37,778 / 20 (one common copy has 575 / 37,746); query 200 / 1,678 / 19;
    gallery 200 / 11,579 / 19. Camera counts are those printed by public loaders.
    """

    name = "VeRi776"
    folders: tuple[str, ...] = ("VeRi", "VeRi-776", "veri", "VeRi776")
    required = ("image_train", "image_query", "image_test")
    split_folders: ClassVar = {"train": "image_train", "query": "image_query", "gallery": "image_test"}
    example = "0002_c002_00030600_0.jpg"
    official: ClassVar = {
        "train": (Counts(576, 37_778, 20), Counts(575, 37_746, 20)),
        "query": (Counts(200, 1_678, 19),),
        "gallery": (Counts(200, 11_579, 19),),
    }
