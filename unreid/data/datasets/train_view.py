"""The training list as methods see it: no identities, and an order that says nothing about them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from unreid.data.datasets.base import ReIDDataset
from unreid.structures import GroundTruth, Tracklet

_PERMUTATION = 1  # keeps this stream apart from others that start from the same seed


class TrainView(NamedTuple):
    """The full training list (N records) and, for evaluation and diagnostics only, its identities alike ordered.

    Attributes:
        tracklets: N records; positions in this list are the indices used everywhere in training.
        truth: identities 0..n-1 (ascending raw id, dataset after dataset), -1 where unknown.
    """

    tracklets: list[Tracklet]
    truth: GroundTruth


def train_view(datasets: Sequence[ReIDDataset], seed: int) -> TrainView:
    """Joins the training splits and permutes them by ``seed``.

    File names of re-ID sets begin with the identity, so the sorted order of paths is a label. The list is therefore
    sorted by relative path (whatever order the file system gave) and then permuted; pass numbers are counted anew in
    the permuted order. Cameras and identities of several datasets are shifted so that they stay distinct.

    Raises:
        ValueError: no dataset was given.
    """
    if not datasets:
        raise ValueError("train_view needs at least one dataset")
    tracklets: list[Tracklet] = []
    pids: list[np.ndarray] = []
    cameras = tracks = identities = 0
    for dataset in datasets:
        split = dataset.train
        order = _path_order(dataset, split.tracklets)
        members = [split.tracklets[i] for i in order]
        labels, found = _relabel(split.truth.pids[order], identities)
        pids.append(labels)
        tracklets += [replace(t, camid=t.camid + cameras, trackid=t.trackid + tracks) for t in members]
        cameras += 1 + max(t.camid for t in members)
        tracks += 1 + max(t.trackid for t in members)
        identities += found
    permutation = np.random.default_rng([seed, _PERMUTATION]).permutation(len(tracklets))
    shuffled = _renumber_tracks([tracklets[i] for i in permutation])
    return TrainView(shuffled, GroundTruth(np.concatenate(pids)[permutation]))


def _path_order(dataset: ReIDDataset, tracklets: Sequence[Tracklet]) -> list[int]:
    prefix = str(dataset.folder)
    keys = [tuple(path.removeprefix(prefix).replace(os.sep, "/") for path in t.paths) for t in tracklets]
    return sorted(range(len(keys)), key=keys.__getitem__)


def _relabel(pids: np.ndarray, first: int) -> tuple[np.ndarray, int]:
    """Known identities become first, first + 1, ... in ascending raw order; unknown ones stay -1."""
    known = pids >= 0
    raw, compact = np.unique(pids[known], return_inverse=True)
    labels = np.full(len(pids), -1, dtype=np.int64)
    labels[known] = compact + first
    return labels, len(raw)


def _renumber_tracks(tracklets: list[Tracklet]) -> list[Tracklet]:
    """Pass numbers in order of first appearance: the original ones follow the sorted paths."""
    numbers: dict[int, int] = {}
    return [replace(t, trackid=numbers.setdefault(t.trackid, len(numbers))) for t in tracklets]
