"""Parsers: files of the recorded names are laid out, and what the reference loaders returned must come back.

Tolerance: exact for all of them. Training identities are compared as a partition where the reference numbers them in
the order of a Python set.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from scipy.io import savemat

from unreid.data.datasets import DATASETS, MARS, DukeMTMCVideoReID, ReIDDataset
from unreid.data.datasets.base import Split

from .cases import Case, checks

_NAMES = {
    "market1501": "Market1501",
    "dukemtmcreid": "DukeMTMCreID",
    "veri": "VeRi776",
    "msmt17": "MSMT17",
    "personx": "PersonX",
    "celebreid": "CelebReID",
    "cuhk03np": "CUHK03NP",
}


def _lay_out(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def _relabelled(pids: np.ndarray) -> np.ndarray:
    return np.unique(pids, return_inverse=True)[1]


def _rows(dataset: ReIDDataset, split: Split) -> list[tuple[str, int, int]]:
    names = [Path(t.paths[0]).relative_to(dataset.folder).as_posix() for t in split.tracklets]
    return [(name, int(pid), t.camid) for name, pid, t in zip(names, split.truth.pids, split.tracklets, strict=True)]


@checks("common", "dataset_cases")
def image_sets(case: Case) -> None:
    """Every data set of the list, each in a folder whose own name looks like an identity and a camera."""
    for listed in case.entry["cases"]:
        with tempfile.TemporaryDirectory(prefix="0012_c3_") as root:
            folder = Path(root) / listed["folder"]
            for part, names in listed["files"].items():
                (folder / part).mkdir(parents=True, exist_ok=True)
                _lay_out(folder / part, names)
            kind = DATASETS.get(_NAMES.get(listed["dataset"], listed["dataset"]))
            for part in kind.required:
                (folder / part).mkdir(parents=True, exist_ok=True)  # a case may list some of the splits only
            dataset = kind(root)
            for key, rows in listed.items():
                name, _, columns = key.partition("_[")
                if not columns:
                    continue
                split: Split = getattr(dataset, name)
                found = _rows(dataset, split)
                if "label" in columns:
                    labels = _relabelled(split.truth.pids).tolist()
                    found = [(path, label, camid) for (path, _, camid), label in zip(found, labels, strict=True)]
                assert sorted(found) == sorted(tuple(row) for row in rows), f"{listed['dataset']} {name}"


@checks("auxusl", "mars_parser")
def mars(case: Case) -> None:
    """Tables of identity, camera and length in file order, with the first image of every tracklet."""
    data = case.arrays()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "MARS"
        (folder / "info").mkdir(parents=True)
        for part in ("train", "test"):
            names = [str(name) for name in data[f"in_{part}_name"]]
            _lay_out(folder / f"bbox_{part}", [f"{name[:4]}/{name}" for name in names])
            (folder / "info" / f"{part}_name.txt").write_text("\n".join(names) + "\n")
            variable = f"track_{part}_info"
            savemat(folder / "info" / f"tracks_{part}_info.mat", {variable: data[f"in_{variable}"]})
        savemat(folder / "info" / "query_IDX.mat", {"query_IDX": data["in_query_IDX"][None]})
        dataset = MARS(root)
        for name in ("train", "query", "gallery"):
            split, expected = getattr(dataset, name), data[f"out_{name}"]
            pids = split.truth.pids
            if name == "train":
                _same_partition(pids, expected[:, 0])
            else:
                np.testing.assert_array_equal(pids, expected[:, 0])
            np.testing.assert_array_equal([t.camid for t in split.tracklets], expected[:, 1])
            np.testing.assert_array_equal([len(t.paths) for t in split.tracklets], expected[:, 2])
            firsts = [Path(t.paths[0]).name for t in split.tracklets]
            assert firsts == data[f"out_{name}_first"].tolist()


def _same_partition(one: np.ndarray, other: np.ndarray) -> None:
    np.testing.assert_array_equal(one[:, None] == one[None], other[:, None] == other[None])


@checks("auxusl", "dense_split")
def dense(case: Case) -> None:
    """Clips of the dense mode: first and last image, length, identity and camera."""
    data, columns = case.arrays(), case.params["columns"]
    step = case.params["dense_step"]
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "DukeMTMC-VideoReID"
        for split in ("train", "query", "gallery"):
            (folder / split).mkdir(parents=True)
        for row in data["in_tracks"]:
            track = dict(zip(columns, row.tolist(), strict=True))
            pid, cam = track["pid"], track["cam"]
            frames = [track["first_X"] + track["X_stride"] * k for k in range(track["num_images"])]
            names = [f"{pid:04d}_C{cam}_F{k:04d}_X{frame}.jpg" for k, frame in enumerate(frames, start=1)]
            _lay_out(folder / "train" / f"{pid:04d}" / f"{track['track']:04d}", names)
        assert len(DukeMTMCVideoReID(root).train) == int(data["out_num_plain"])
        train = DukeMTMCVideoReID(root, dense=True, dense_step=step).train
        order = sorted(range(len(train)), key=lambda i: train.tracklets[i].paths)
        clips = [train.tracklets[i] for i in order]
        assert [Path(clip.paths[0]).name for clip in clips] == data["out_first"].tolist()
        assert [Path(clip.paths[-1]).name for clip in clips] == data["out_last"].tolist()
        np.testing.assert_array_equal([len(clip.paths) for clip in clips], data["out_length"])
        np.testing.assert_array_equal(train.truth.pids[order], data["out_pid"])
        np.testing.assert_array_equal([clip.camid + 1 for clip in clips], data["out_cam"])
