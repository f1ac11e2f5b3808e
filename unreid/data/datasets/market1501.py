"""Market-1501."""

from __future__ import annotations

from typing import ClassVar

from unreid.data.datasets.base import DATASETS
from unreid.data.datasets.named_files import NamedFilesDataset
from unreid.data.datasets.statistics import Counts


@DATASETS.register("Market1501", "market")
class Market1501(NamedFilesDataset):
    """Market-1501: 1,501 pedestrians, six cameras in front of a supermarket.

    Citation: Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015.
    Home page: https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html

    Layout::

        Market-1501-v15.09.15/
            bounding_box_train/0002_c1s1_000451_03.jpg   identity 2, camera 1
            query/0001_c1s1_001051_00.jpg
            bounding_box_test/-1_c3s1_000401_01.jpg      junk: dropped
            bounding_box_test/0000_c1s1_000151_01.jpg    distractor: stays in the gallery as identity 0

    Identities / images / cameras: train 751 / 12,936 / 6; query 750 / 3,368 / 6; gallery 751 / 15,913 / 6 (identity 0
    counted; 19,732 files before 3,819 junk images are dropped).
    """

    name = "Market1501"
    folders: tuple[str, ...] = ("Market-1501-v15.09.15", "Market-1501", "market1501", "Market1501")
    required = ("bounding_box_train", "query", "bounding_box_test")
    official: ClassVar = {
        "train": (Counts(751, 12_936, 6),),
        "query": (Counts(750, 3_368, 6),),
        "gallery": (Counts(751, 15_913, 6),),
    }
