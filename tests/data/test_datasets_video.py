"""MARS and DukeMTMC-VideoReID on hand-made files: order, checks, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from unreid.data.datasets import MARS, DukeMTMCVideoReID
from unreid.data.datasets.statistics import Counts
from unreid.utils.errors import UserError

TRAIN = ["0003C1T0001F001.jpg", "0003C1T0001F002.jpg", "0001C6T0001F001.jpg"]
TEST = ["0002C2T0001F001.jpg", "0002C3T0001F001.jpg", "0000C1T0001F001.jpg", "00-1C1T0001F001.jpg"]


def mars(root: Path) -> Path:
    info = root / "MARS" / "info"
    info.mkdir(parents=True)
    for part, names in (("train", TRAIN), ("test", TEST)):
        (info / f"{part}_name.txt").write_text("\n".join(names))
        for name in names:
            folder = root / "MARS" / f"bbox_{part}" / name[:4]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
    savemat(info / "tracks_train_info.mat", {"track_train_info": np.array([[1, 2, 3, 1], [3, 3, 1, 6]])})
    test = np.array([[1, 1, 2, 2], [2, 2, 2, 3], [3, 3, 0, 1], [4, 4, -1, 1]], dtype=np.float64)
    savemat(info / "tracks_test_info.mat", {"track_test_info": test})
    savemat(info / "query_IDX.mat", {"query_IDX": np.array([[2]])})
    return root


def test_mars_follows_its_tables(tmp_path: Path) -> None:
    dataset = MARS(mars(tmp_path))
    first, second = dataset.train.tracklets
    assert [Path(path).name for path in first.paths] == TRAIN[:2]
    assert (first.camid, second.camid) == (0, 5)
    assert dataset.train.truth.pids.tolist() == [3, 1]
    assert first.frames is None
    assert dataset.camera_starts is None
    assert dataset.query.truth.pids.tolist() == [2]
    assert dataset.query.tracklets[0].camid == 2
    assert dataset.gallery.truth.pids.tolist() == [2, 0], "junk is dropped, the distractor stays"


def test_mars_info_elsewhere(tmp_path: Path) -> None:
    mars(tmp_path)
    (tmp_path / "MARS" / "info").rename(tmp_path / "lists")
    with pytest.raises(UserError, match="lacks info/train_name.txt"):
        MARS(tmp_path)
    assert len(MARS(tmp_path, info=str(tmp_path / "lists")).train) == 2


def test_mars_partial_copy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mars(tmp_path)
    for folder in ("bbox_train/0003", "bbox_test/0000"):
        for file in (tmp_path / "MARS" / folder).iterdir():
            file.unlink()
        (tmp_path / "MARS" / folder).rmdir()
    dataset = MARS(tmp_path)
    assert dataset.train.truth.pids.tolist() == [1]
    assert dataset.gallery.truth.pids.tolist() == [2]
    assert "1 tracklets were left out" in caplog.text


def test_mars_images_that_are_listed_and_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mars(tmp_path)
    lost = tmp_path / "MARS" / "bbox_train" / TRAIN[0][:4] / TRAIN[0]
    lost.unlink()
    lost.mkdir()
    (lost.parent / "x.heic").touch()
    first = MARS(tmp_path).train.tracklets[0]
    assert [Path(path).name for path in first.paths] == TRAIN[1:2]
    assert "1 listed images are not in" in caplog.text
    assert "1 .heic (no decoder)" in caplog.text and "1 folder named like an image" in caplog.text


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("tracks_train_info.mat", {"track_train_info": np.array([[1, 9, 3, 1]])}, "row 1: images 1 to 9 are not among"),
        ("tracks_train_info.mat", {"track_train_info": np.array([[2, 3, 3, 1]])}, "several identities or cameras"),
        ("tracks_train_info.mat", {"track_train_info": np.array([[1, 2, 3]])}, "expected four columns"),
        ("tracks_train_info.mat", {"other": np.array([[1]])}, "no variable 'track_train_info'"),
        ("tracks_train_info.mat", None, "cannot be read as a MATLAB 5 file"),
    ],
)
def test_mars_tables_that_are_wrong(tmp_path: Path, file: str, content: dict | None, sentence: str) -> None:
    path = mars(tmp_path) / "MARS" / "info" / file
    path.write_bytes(b"version https://git-lfs.github.com") if content is None else savemat(path, content)
    with pytest.raises(UserError, match=sentence):
        MARS(tmp_path).train  # noqa: B018


def test_mars_query_rows_must_exist(tmp_path: Path) -> None:
    savemat(mars(tmp_path) / "MARS" / "info" / "query_IDX.mat", {"query_IDX": np.array([[5]])})
    with pytest.raises(UserError, match="beyond the 4 rows"):
        MARS(tmp_path).gallery  # noqa: B018


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ([1, 1, 2, -1], "row 1: the camera is -1"),
        ([1, 1, -2, 1], "row 1: the identity is -2"),
        ([1, 1, 2, 10**9], "the camera 1000000000 of row 1 of tracks_test_info.mat is above"),
        ([1, 1, 2, 1.5], "numbers that are not whole"),
        ([1, 1, 2, float("nan")], "numbers that are not whole"),
        ([1, 1, 1e30, 1], "numbers that are not whole, or too large"),
    ],
)
def test_mars_numbers_that_cannot_be(tmp_path: Path, row: list[float], sentence: str) -> None:
    savemat(mars(tmp_path) / "MARS/info/tracks_test_info.mat", {"track_test_info": np.array([row, [2, 2, 2, 3]])})
    with pytest.raises(UserError, match=sentence):
        MARS(tmp_path).gallery  # noqa: B018


def test_mars_lists_and_tables_of_other_tools(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    info = mars(tmp_path) / "MARS" / "info"
    (info / "train_name.txt").write_bytes("\r\n".join(TRAIN).encode("utf-8-sig"))
    savemat(info / "tracks_train_info.mat", {"track_train_info": np.array([[1, 2, 3, 0], [3, 3, 1, 5]])})
    savemat(info / "query_IDX.mat", {"query_IDX": np.array([[2, 2]])})
    dataset = MARS(tmp_path)
    assert [t.camid for t in dataset.train.tracklets] == [0, 5]
    assert len(dataset.query) == 1
    for sentence in ("cameras are counted from 0", "2 tracklets of", "names 1 rows more than once"):
        assert sentence in caplog.text


def duke(root: Path, files: dict[str, list[str]]) -> Path:
    for split in ("train", "query", "gallery"):
        (root / "DukeMTMC-VideoReID" / split).mkdir(parents=True, exist_ok=True)
    for folder, names in files.items():
        path = root / "DukeMTMC-VideoReID" / folder
        path.mkdir(parents=True, exist_ok=True)
        for name in names:
            (path / name).touch()
    return root


def test_dukevideo_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = {
        "train/0001/0001": [f"0001C6F{i:04d}X{30823 + 12 * i}.jpg" for i in (2, 3, 11)],
        "train/0001/0002": [f"0001_C2_F{i}_X{100 + 12 * i}.jpg" for i in (9, 10, 8)],
        "train/0004/0001": [
            "0004_C8_F0001_X7.jpg",
            "0005_C8_F0002_X19.jpg",
            "0004_C7_F0003_X31.jpg",
            "0004_C8_F0004_X43.jpg",
        ],
        "train/0005/0001": [],
        "train/lost+found/0001": ["0009_C1_F0001_X1.jpg"],
    }
    dataset = DukeMTMCVideoReID(duke(tmp_path, files))
    first, second, third = dataset.train.tracklets
    assert first.frames == (30847, 30859, 30955)
    assert second.frames == (196, 208, 220), "frames are sorted by number, not by text"
    assert (first.camid, second.camid, third.camid) == (5, 1, 7)
    assert third.frames == (7, 43), "images of another person or camera are left out"
    assert dataset.train.truth.pids.tolist() == [1, 1, 4]
    assert [t.trackid for t in dataset.train.tracklets] == [0, 1, 2]
    assert "2 images of" in caplog.text
    with pytest.raises(UserError, match="query has no tracklet like"):
        dataset.query  # noqa: B018


def test_dukevideo_cameras_without_a_clock(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = {f"{split}/0001/0001": ["0001_C9_F0001_X7.jpg"] for split in ("train", "query", "gallery")}
    files["train/0001/0002"] = ["0001_C1_F0001_X7.jpg"]
    dataset = DukeMTMCVideoReID(duke(tmp_path, files))
    assert [t.camid for t in dataset.train.tracklets] == [8, 0]
    assert dataset.camera_starts is None
    assert "the clock of camera 9 is not known" in caplog.text


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("0001_C0_F0001_X7.jpg", "0001_C0_F0001_X7.jpg is of camera 0"),
        (f"0001_C1_F0001_X{10**20}.jpg", "frame number above"),
        (f"0001_C{10**20}_F0001_X7.jpg", f"the camera {10**20} of"),
    ],
)
def test_dukevideo_numbers_that_cannot_be(tmp_path: Path, name: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        DukeMTMCVideoReID(duke(tmp_path, {"train/0001/0001": [name]})).train  # noqa: B018


def test_dukevideo_says_what_it_leaves_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = {
        "train/0001/0001": ["0001_C1_F0001_X7.jpg", "0002_C1_F0002_X7.jpg"],
        "train/1/0002": ["0001_C1_F0003_X9.jpg"],
        "train/0001": ["loose.jpg"],
        "train/anna": [],
    }
    assert DukeMTMCVideoReID(duke(tmp_path, files)).train.truth.pids.tolist() == [1, 1]
    for sentence in ("2 images of", "1 folders of", "first: anna", "taken as one: '0001' and '1'"):
        assert sentence in caplog.text


def test_dukevideo_clock_is_the_official_one() -> None:
    starts = DukeMTMCVideoReID.camera_starts
    assert starts[0] + 44500 - 1 == 50042  # worked example: camera 1, frame 44500
    assert starts[7] + 3300 - 1 == 50065
    assert starts[4] == 1


def test_dense_counts_of_the_official_set(tmp_path: Path) -> None:
    root = duke(tmp_path, {})
    expected = {step: DukeMTMCVideoReID(root, dense=True, dense_step=step)._expected("train")[0] for step in (7, 40)}
    assert expected[40] == Counts(702, 8_187, 8, 369_656)
    assert expected[7].tracklets is None
    assert DukeMTMCVideoReID(root, dense=True)._expected("query")[0].tracklets == 702
    with pytest.raises(UserError, match="DENSE_STEP"):
        DukeMTMCVideoReID(root, dense_step=0)
