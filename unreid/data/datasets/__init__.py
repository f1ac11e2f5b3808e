"""Datasets: a file each. Importing this package registers them all."""

from __future__ import annotations

from unreid.data.datasets.base import DATASETS, ReIDDataset, Split, build_dataset
from unreid.data.datasets.market1501 import Market1501
from unreid.data.datasets.statistics import Counts
from unreid.data.datasets.synthetic import Synthetic
from unreid.data.datasets.train_view import TrainView, train_view

__all__ = [
    "DATASETS",
    "Counts",
    "Market1501",
    "ReIDDataset",
    "Split",
    "Synthetic",
    "TrainView",
    "build_dataset",
    "train_view",
]
