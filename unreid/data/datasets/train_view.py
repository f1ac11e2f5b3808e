"""The training list as methods see it: no identities, and an order that says nothing about them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from unreid.data.datasets.base import ReIDDataset, Split
from unreid.data.datasets.same_files import FileIndex
from unreid.data.datasets.separation import trainable
from unreid.structures import GroundTruth, Tracklet

logger = logging.getLogger(__name__)

_PERMUTATION = 1  # keeps this stream apart from others that start from the same seed


class TrainView(NamedTuple):
    """The full training list (N records) and, for evaluation and diagnostics only, its identities alike ordered.

    Attributes:
        tracklets: N records; positions in this list are the indices used everywhere in training.
        truth: identities 0..n-1 (ascending raw id, dataset after dataset), -1 where unknown.
    """

    tracklets: list[Tracklet]
    truth: GroundTruth


def train_view(datasets: Sequence[ReIDDataset], seed: int, tests: Sequence[ReIDDataset] = ()) -> TrainView:
    """Joins the training splits and permutes them by ``seed``.

    File names of re-ID sets begin with the identity, so the sorted order of paths is a label. The list is therefore
    sorted by relative path (whatever order the file system gave) and then permuted; pass numbers are counted anew in
    the permuted order. Cameras and identities of several datasets are shifted so that they stay distinct.

    Args:
        tests: sets whose query and gallery are kept out of training, too; those of ``datasets`` always are.

    Raises:
        ValueError: no dataset was given.
        UserError: all training images of a set are test images of another.
    """
    if not datasets:
        raise ValueError("train_view needs at least one dataset")
    tracklets: list[Tracklet] = []
    pids: list[np.ndarray] = []
    cameras = tracks = identities = 0
    everyone = list(dict.fromkeys([*datasets, *tests]))
    held_out = {dataset: dataset.held_out() for dataset in everyone} if len(everyone) > 1 else {}
    for dataset in datasets:
        split = _without_tests(dataset, held_out)
        order = _path_order(dataset, split.tracklets)
        members = [split.tracklets[i] for i in order]
        labels, found = _relabel(split.truth.pids[order], identities)
        pids.append(labels)
        tracklets += [replace(t, camid=t.camid + cameras, trackid=t.trackid + tracks) for t in members]
        cameras += 1 + max(t.camid for t in members)
        tracks += 1 + max(t.trackid for t in members)
        identities += found
    _say_repeats(tracklets)
    permutation = np.random.default_rng([seed, _PERMUTATION]).permutation(len(tracklets))
    # Pass numbers in order of first appearance: the original ones follow the sorted paths.
    numbers: dict[int, int] = {}
    drawn = (tracklets[i] for i in permutation)
    shuffled = [replace(t, trackid=numbers.setdefault(t.trackid, len(numbers))) for t in drawn]
    return TrainView(shuffled, GroundTruth(np.concatenate(pids)[permutation]))


def _without_tests(dataset: ReIDDataset, held_out: Mapping[ReIDDataset, FileIndex]) -> Split:
    """The training split without the test images of other sets; its own are not in it."""
    split = dataset.train
    for other, files in held_out.items():
        if other is not dataset:
            tester = f"{other.name} in {other.folder}"
            kept = trainable(split.tracklets, files, owner=dataset.name, tester=tester)
            split = Split([split.tracklets[i] for i in kept], GroundTruth(split.truth.pids[kept]))
    return split


def _say_repeats(tracklets: Sequence[Tracklet]) -> None:
    """A file that is listed twice counts twice: that may be meant, but not unknowingly."""
    files = FileIndex(())
    paths = [path for tracklet in tracklets for path in tracklet.paths]
    repeats = [path for path in paths if files.repeats(path)]
    if repeats:
        logger.warning(
            "%d of %d training images are files that are trained on already under another name or in another dataset "
            "(first: %s)",
            len(repeats),
            len(paths),
            repeats[0],
        )


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
