"""No test image is ever trained on, whatever it is called and whichever set it belongs to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unreid.config import get_cfg
from unreid.data.datasets import MSMT17, DukeMTMCVideoReID, ImageFolder, Market1501, train_view
from unreid.engine.data import build_data
from unreid.structures import Tracklet
from unreid.utils.errors import UserError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def names(tracklets: list[Tracklet]) -> list[str]:
    return sorted(Path(path).name for tracklet in tracklets for path in tracklet.paths)


@pytest.fixture
def market(tmp_path: Path) -> Path:
    base = tmp_path / "data" / "Market-1501"
    touch(base / "bounding_box_train", "0001_c1s1_000001_00.jpg", "0001_c2s1_000002_00.jpg")
    touch(base / "query", "0002_c1s1_000003_00.jpg")
    return touch(base / "bounding_box_test", "0002_c2s1_000004_00.jpg", "-1_c2s1_000005_00.jpg").parent


@pytest.mark.parametrize("link", [os.symlink, os.link])
@pytest.mark.parametrize("image", ["query/0002_c1s1_000003_00.jpg", "bounding_box_test/-1_c2s1_000005_00.jpg"])
def test_links_in_the_training_folder(market: Path, link: object, image: str, caplog: pytest.LogCaptureFixture) -> None:
    link(market / image, market / "bounding_box_train" / "0009_c3s1_000009_00.jpg")  # type: ignore[operator]
    dataset = Market1501(market)
    assert names(dataset.train.tracklets) == ["0001_c1s1_000001_00.jpg", "0001_c2s1_000002_00.jpg"]
    assert "1 of 3 training samples were left out, they are query or gallery images" in caplog.text
    assert len(dataset.train.truth) == 2


def test_a_linked_folder_leaves_nothing(market: Path) -> None:
    for file in (market / "bounding_box_train").iterdir():
        file.unlink()
    (market / "bounding_box_train").rmdir()
    (market / "bounding_box_train").symlink_to("bounding_box_test")
    with pytest.raises(UserError, match="all 1 training samples are query or gallery images .* nothing is left"):
        Market1501(market).train  # noqa: B018


def test_a_copy_is_another_file(market: Path) -> None:
    source = market / "query/0002_c1s1_000003_00.jpg"
    (market / "bounding_box_train/0009_c3s1_000009_00.jpg").write_bytes(source.read_bytes())
    assert len(Market1501(market).train) == 3, "contents are not compared"


def test_msmt17_lists(tmp_path: Path) -> None:
    base = touch(
        tmp_path / "MSMT17_V1", "train/0/0_000_01_a_0.jpg", "test/1/1_000_01_b_0.jpg", "test/1/1_000_02_b_1.jpg"
    )
    (base / "train/0/0_001_02_a_1.jpg").symlink_to(base / "test/1/1_000_01_b_0.jpg")
    for name, lines in {
        "train": "0/0_000_01_a_0.jpg 0\n0/0_001_02_a_1.jpg 0\n",
        "val": "",
        "query": "1/1_000_01_b_0.jpg 1\n",
        "gallery": "1/1_000_02_b_1.jpg 1\n",
    }.items():
        (base / f"list_{name}.txt").write_text(lines)
    assert names(MSMT17(tmp_path).train.tracklets) == ["0_000_01_a_0.jpg"]


@pytest.mark.parametrize("dense", [False, True])
def test_a_pass_with_one_test_frame_is_left_out_whole(tmp_path: Path, dense: bool) -> None:
    base = tmp_path / "DukeMTMC-VideoReID"
    for track in ("train/0001/0001", "train/0001/0002", "query/0002/0001", "gallery/0002/0001"):
        touch(base / track, *(f"{track.split('/')[1]}_C1_F{k:04d}_X{k}.jpg" for k in range(4)))
    frame = base / "train/0001/0002/0001_C1_F0003_X3.jpg"
    frame.unlink()
    frame.symlink_to(base / "query/0002/0001/0002_C1_F0000_X0.jpg")
    dataset = DukeMTMCVideoReID(tmp_path, dense=dense, dense_step=2)
    assert {Path(path).parent.name for t in dataset.train.tracklets for path in t.paths} == {"0001"}
    assert len(dataset.train) == (2 if dense else 1)


def test_the_folder_that_holds_only_queries_is_no_training_folder(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "query/a/2.jpg")
    assert names(ImageFolder(tmp_path, train=".").train.tracklets) == ["1.jpg"]


def test_test_images_that_fit_no_expression_are_kept_out_too(tmp_path: Path) -> None:
    touch(tmp_path, "1_c1.jpg", "query/a/2.jpg", "query/a/2_c1.jpg", "gallery/a/3_c2.jpg", "gallery/4_c2.jpg")
    dataset = ImageFolder(tmp_path, train=".", camera_regex=r"(c\d|2)", query="./query")
    assert names(dataset.train.tracklets) == ["1_c1.jpg"]


def test_test_sets_of_others(market: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = ImageFolder(touch(market.parent, "1.jpg", "2.jpg"), train=".")
    assert len(own.train) == 2 + 5, "by itself the folder has no test set"
    view = train_view([own], 0, [Market1501(market)])
    assert names(view.tracklets) == ["0001_c1s1_000001_00.jpg", "0001_c2s1_000002_00.jpg", "1.jpg", "2.jpg"]
    assert "3 of 7 training samples were left out, they are query or gallery images of Market1501" in caplog.text
    assert len(train_view([own, Market1501(market)], 0).tracklets) == 4 + 2
    assert "2 of 6 training images are files that are trained on already" in caplog.text


def test_build_data_separates(market: Path) -> None:
    touch(market.parent, "1.jpg")
    cfg = get_cfg()
    cfg.DATASETS.ROOT = cfg.DATASETS.FOLDER.PATH = str(market.parent)
    cfg.DATASETS.FOLDER.TRAIN = "."
    cfg.DATASETS.NAMES, cfg.DATASETS.TESTS = ["ImageFolder"], ["Market1501"]
    data = build_data(cfg)
    assert names(data.tracklets) == ["0001_c1s1_000001_00.jpg", "0001_c2s1_000002_00.jpg", "1.jpg"]
    cfg.DATASETS.NAMES = ["market", "Market1501"]
    with pytest.raises(UserError, match="DATASETS.NAMES names one dataset twice: market and Market1501"):
        build_data(cfg)


def test_names_of_test_images_number_no_camera_of_training(tmp_path: Path) -> None:
    touch(tmp_path, "z1/1.jpg", "query/a/2.jpg", "gallery/a/3.jpg")
    dataset = ImageFolder(tmp_path, train=".", camera_regex=r"^(\w+)/")
    assert [t.camid for t in dataset.train.tracklets] == [1], "query and gallery are no cameras between a and z1"
