"""Own crops: cameras from names, manifests or nowhere, and the sentences for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from unreid.config import get_cfg
from unreid.data.datasets import ImageFolder, Market1501, build_dataset, train_view
from unreid.utils.errors import UserError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def crops(root: Path) -> Path:
    return touch(
        root,
        *(f"train/day{d}/cam{c}_{i}.jpg" for d in (1, 2) for c in (2, 10) for i in range(3)),
        *(f"query/anna/cam{c}_0.png" for c in (2, 10)),
        *(f"gallery/{who}/cam{c}_1.png" for who in ("anna", "ben") for c in (2, 10)),
        "train/.hidden/cam2_9.jpg",
        "train/notes.txt",
    )


def test_cameras_and_identities_from_names(tmp_path: Path) -> None:
    dataset = ImageFolder(crops(tmp_path), camera_regex=r"cam(\d+)_")
    assert dataset.has_test
    assert dataset.has_cameras
    assert dataset.cross_camera_filter
    assert len(dataset.train) == 12
    by_name = {Path(t.paths[0]).name: t.camid for t in dataset.train.tracklets}
    assert by_name["cam2_0.jpg"] == 0, "natural order: 2 before 10"
    assert by_name["cam10_0.jpg"] == 1
    assert set(dataset.train.truth.pids.tolist()) == {-1}
    assert dataset.query.truth.pids.tolist() == [1, 1]
    assert sorted(dataset.gallery.truth.pids.tolist()) == [1, 1, 2, 2]


def test_one_camera_degrades_explicitly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = ImageFolder(crops(tmp_path))
    assert "count as one camera" in caplog.text
    assert not dataset.has_cameras
    assert not dataset.cross_camera_filter, "otherwise every true match would be removed"
    assert {t.camid for t in dataset.train.tracklets} == {0}
    assert dataset.statistics()["train"].cameras is None


def test_without_query_there_is_no_test(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = ImageFolder(touch(tmp_path, "a/1.jpg", "b/2.jpg"), train=".")
    assert not dataset.has_test
    assert "evaluation is skipped" in caplog.text
    assert len(dataset.train) == 2
    assert list(dataset.statistics()) == ["train"]
    with pytest.raises(UserError, match="no query and gallery"):
        dataset.query  # noqa: B018
    assert set(train_view([dataset], 0).truth.pids.tolist()) == {-1}


def test_the_folder_itself_leaves_out_the_test_crops(tmp_path: Path) -> None:
    dataset = ImageFolder(touch(tmp_path, "x/1.jpg", "2.jpg", "query/7/3.jpg", "gallery/7/4.jpg"), train=".")
    assert sorted(Path(t.paths[0]).name for t in dataset.train.tracklets) == ["1.jpg", "2.jpg"]
    assert dataset.query.truth.pids.tolist() == [7], "numeric identities keep their number"


def test_identities_by_expression(tmp_path: Path) -> None:
    touch(tmp_path, "train/p3_c1.jpg", "train/p5_c2.jpg", "query/p3_c1.jpg", "gallery/p3_c2.jpg", "gallery/who.jpg")
    dataset = ImageFolder(tmp_path, camera_regex=r"c(\d)\.", pid_regex=r"p(\d+)_")
    assert dataset.train.truth.pids.tolist() == [3, 5]
    assert dataset.gallery.truth.pids.tolist() == [3]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"camera_regex": "cam("}, "CAMERA_REGEX.*not a regular expression"),
        ({"camera_regex": "cam"}, "CAMERA_REGEX.*no group"),
        ({"pid_regex": "p"}, "PID_REGEX.*no group"),
        ({"train": "training"}, "DATASETS.FOLDER.TRAIN"),
        ({"manifest": "none.csv"}, "none.csv cannot be read"),
    ],
)
def test_wrong_arguments(tmp_path: Path, arguments: dict[str, str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        ImageFolder(crops(tmp_path), **arguments)


def test_expressions_that_match_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    crops(tmp_path)
    with pytest.raises(UserError, match=r"no usable image in .*train \(12 files; one of them: day1/cam10_0.jpg"):
        ImageFolder(tmp_path, camera_regex=r"camera(\d)").train  # noqa: B018
    touch(tmp_path, "train/stranger.jpg")
    assert len(ImageFolder(tmp_path, camera_regex=r"cam(\d+)").train) == 12
    assert "1 images" in caplog.text


def test_empty_and_missing_folders(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match="no usable image"):
        ImageFolder(tmp_path).train  # noqa: B018
    with pytest.raises(UserError, match="does not exist; set DATASETS.FOLDER.PATH"):
        ImageFolder(tmp_path / "nowhere")


MANIFEST = """path,camera,split,pid,track,frame
a/1.jpg,door,train,,t1,7
a/2.jpg,door,train,,t1,3
a/3.jpg,hall,train,,t1,5
a/4.jpg,hall,,,,
query/5.jpg,door,,x,,
query/6.jpg,hall,gallery,x,,
gallery/7.jpg,door,gallery,y,,
"""
FILES = ("a/1.jpg", "a/2.jpg", "a/3.jpg", "a/4.jpg", "query/5.jpg", "query/6.jpg", "gallery/7.jpg")


def test_manifest(tmp_path: Path) -> None:
    touch(tmp_path, *FILES)
    (tmp_path / "list.csv").write_text(MANIFEST)
    dataset = ImageFolder(tmp_path, manifest="list.csv")
    assert dataset.has_test
    assert dataset.has_cameras
    first, second, third = dataset.train.tracklets
    assert [Path(path).name for path in first.paths] == ["2.jpg", "1.jpg"], "frames decide the order"
    assert first.frames == (3, 7)
    assert (first.camid, second.camid, third.camid) == (0, 1, 1)
    assert second.frames == (5,), "another camera is another tracklet"
    assert third.frames is None
    assert dataset.query.truth.pids.tolist() == [1]
    assert dataset.gallery.truth.pids.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path,pid\na/1.jpg,3\n", "line 1: no column camera"),
        ("path,camera\na/1.jpg,1\na/9.jpg,1\n", "line 3: there is no file"),
        ("path,camera\na/1.jpg,\n", "line 2: the column camera is empty"),
        ("path,camera,split\na/1.jpg,1,test\n", "line 2: split must be one of train, query, gallery, not 'test'"),
        ("path,camera,frame\na/1.jpg,1,1.5\n", "line 2: frame must be a whole number"),
        ("path,camera\n", "lists no image"),
        ("", "line 1: no column path or camera"),
    ],
)
def test_manifest_mistakes_have_a_line(tmp_path: Path, text: str, sentence: str) -> None:
    touch(tmp_path, *FILES)
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(UserError, match=sentence):
        ImageFolder(tmp_path, manifest="list.csv")


def test_a_manifest_with_one_camera_has_none(tmp_path: Path) -> None:
    touch(tmp_path, *FILES)
    (tmp_path / "list.csv").write_text("path,camera\na/1.jpg,door\na/2.jpg,door\n")
    dataset = ImageFolder(tmp_path, manifest="list.csv")
    assert not dataset.has_cameras
    assert not dataset.cross_camera_filter
    assert not dataset.has_test


def test_manifest_that_is_no_text(tmp_path: Path) -> None:
    touch(tmp_path, *FILES)
    (tmp_path / "list.csv").write_bytes(b"path,camera\n\xff\xfe\x00,1\n")
    with pytest.raises(UserError, match="cannot be read"):
        ImageFolder(tmp_path, manifest="list.csv")


def test_from_config(tmp_path: Path) -> None:
    cfg = get_cfg()
    cfg.DATASETS.FOLDER.PATH = str(crops(tmp_path))
    cfg.DATASETS.FOLDER.CAMERA_REGEX = r"cam(\d+)_"
    assert len(build_dataset("ImageFolder", cfg).train) == 12
    cfg.DATASETS.FOLDER.PATH, cfg.DATASETS.ROOT = "", str(tmp_path)
    assert len(build_dataset("ImageFolder", cfg).train) == 12


@pytest.mark.parametrize(
    ("names", "pids"),
    [
        (("7", "8"), [7, 8]),
        (("0815", "4711"), [815, 4711]),
        (("7", "07"), [1, 2]),
        (("a7", "a07"), [1, 2]),
        (("9223372036854775807", "9223372036854775808"), [1, 2]),
        (("-5", "5"), [1, 2]),
        (("7", "\uff17"), [1, 2]),
    ],
)
def test_identities_are_names(tmp_path: Path, names: tuple[str, str], pids: list[int]) -> None:
    touch(tmp_path, "train/1.jpg", *(f"{split}/{name}/1.jpg" for split in ("query", "gallery") for name in names))
    dataset = ImageFolder(tmp_path)
    assert sorted(dataset.query.truth.pids.tolist()) == pids
    assert dataset.query.truth.pids.tolist() == dataset.gallery.truth.pids.tolist()


def test_unknown_identities_are_left_out_of_the_test(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "train/1.jpg", "query/a/1.jpg", "gallery/a/2.jpg", "gallery/-1/3.jpg", "gallery/4.jpg")
    assert len(ImageFolder(tmp_path).gallery) == 1
    assert "1 images of" in caplog.text
    assert "have the identity -1 (unknown) and are left out (first: -1/3.jpg)" in caplog.text
    assert "match no identity and are left out (first: 4.jpg)" in caplog.text


def test_an_empty_group_is_no_camera(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "train/cam1.jpg", "train/cam_.jpg")
    assert len(ImageFolder(tmp_path, camera_regex=r"cam(\d*)").train) == 1
    assert "match no camera and are left out (first: cam_.jpg)" in caplog.text


def test_folders_of_one_name_at_several_places_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "train/1.jpg", "gallery/a/1.jpg", "query/anna/day1/1.jpg", "query/ben/day1/1.jpg")
    assert len(set(ImageFolder(tmp_path).query.truth.pids.tolist())) == 1
    assert "such as anna/day1 and ben/day1" in caplog.text


@pytest.mark.parametrize("split", ["train", "query", "gallery"])
def test_names_longer_than_a_file_system_takes(tmp_path: Path, split: str) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.png").touch()
    for name in ("x" * 300, "y" * 5000):
        if split == "train":
            with pytest.raises(UserError, match="does not exist"):
                ImageFolder(tmp_path, train=name)
        else:
            assert not ImageFolder(tmp_path, **{split: name}).has_test
        for data_set in (ImageFolder, Market1501):
            with pytest.raises(UserError, match="does not exist|was not found"):
                data_set(tmp_path / name)
