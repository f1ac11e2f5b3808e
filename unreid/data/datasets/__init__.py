"""Datasets: a file each. Importing this package registers them all."""

from __future__ import annotations

from unreid.data.datasets.base import DATASETS, ReIDDataset, Split, build_dataset
from unreid.data.datasets.celebreid import CelebReID
from unreid.data.datasets.cuhk03np import CUHK03NP
from unreid.data.datasets.dukemtmc_videoreid import DukeMTMCVideoReID
from unreid.data.datasets.dukemtmcreid import DukeMTMCreID
from unreid.data.datasets.image_folder import ImageFolder
from unreid.data.datasets.market1501 import Market1501
from unreid.data.datasets.mars import MARS
from unreid.data.datasets.msmt17 import MSMT17
from unreid.data.datasets.personx import PersonX
from unreid.data.datasets.statistics import Counts
from unreid.data.datasets.synthetic import Synthetic, SyntheticSource
from unreid.data.datasets.synthetic_video import SyntheticVideo
from unreid.data.datasets.train_view import TrainView, train_view
from unreid.data.datasets.veri776 import VeRi776

__all__ = [
    "CUHK03NP",
    "DATASETS",
    "MARS",
    "MSMT17",
    "CelebReID",
    "Counts",
    "DukeMTMCVideoReID",
    "DukeMTMCreID",
    "ImageFolder",
    "Market1501",
    "PersonX",
    "ReIDDataset",
    "Split",
    "Synthetic",
    "SyntheticSource",
    "SyntheticVideo",
    "TrainView",
    "VeRi776",
    "build_dataset",
    "train_view",
]
