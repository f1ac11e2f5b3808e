"""Data: datasets, the renderer, transforms, samplers and loaders. Import what you need from the sub-modules."""

from __future__ import annotations

from unreid.data.datasets import DATASETS, ReIDDataset, Split, TrainView, build_dataset, train_view

__all__ = ["DATASETS", "ReIDDataset", "Split", "TrainView", "build_dataset", "train_view"]
