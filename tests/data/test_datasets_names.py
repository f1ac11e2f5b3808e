"""File names of the image sets: identity, camera, and what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from unreid.data.datasets import CUHK03NP, MSMT17, DukeMTMCreID, Market1501, PersonX, ReIDDataset, VeRi776
from unreid.data.datasets.named_files import NamedFilesDataset
from unreid.utils.errors import UserError

CASES = [
    (Market1501, "1501_c6s3_086567_02.jpg", (1501, 5)),
    (Market1501, "0000_c2s1_000001_00.jpg.jpg", (0, 1)),
    (Market1501, "-1_c1s1_000401_03.jpg", None),
    (DukeMTMCreID, "7140_c8_f0226533.jpg", (7140, 7)),
    (DukeMTMCreID, "0005_c0_f0046985.jpg", (5, 0)),
    (PersonX, "0001_c12s0_02.jpg", (1, 5)),
    (PersonX, "0410_c3s1_17.jpg", (410, 0)),
    (PersonX, "0410_c5s1_17.jpg", (410, 6)),
    (VeRi776, "0776_c017_00012000_0.jpg", (776, 16)),
    (CUHK03NP, "0001_c1_1.png", (1, 0)),
    (CUHK03NP, "1467_c2_10.jpg", (1467, 1)),
    (CUHK03NP, "5_078_2_09.png", (50078, 1)),
    (CUHK03NP, "labels.png", None),
]


def one_file(dataset: type[ReIDDataset], root: Path, name: str) -> ReIDDataset:
    folders = [f"{kind}/{box}" for kind in ("detected",) for box in Market1501.required]
    for part in (*dataset.required, *folders):
        (root / part).mkdir(parents=True, exist_ok=True)
    base = root / "detected" if dataset is CUHK03NP else root
    parts = getattr(dataset, "split_folders", {})
    (base / parts["gallery"] / name).touch()
    return dataset(root)


@pytest.mark.parametrize(("dataset", "name", "expected"), CASES, ids=[name for _, name, _ in CASES])
def test_names(tmp_path: Path, dataset: type[ReIDDataset], name: str, expected: tuple[int, int] | None) -> None:
    found = one_file(dataset, tmp_path, name)
    if expected is None:
        with pytest.raises(UserError, match="no image with a name like"):
            found.gallery  # noqa: B018
    else:
        assert (found.gallery.truth.pids[0], found.gallery.tracklets[0].camid) == expected


GOOD = "0007/0007_000_01_0303morning_0008_0.jpg"


def msmt17(root: Path, lines: str) -> MSMT17:
    folder = root / "MSMT17_V1"
    for part in ("train/0007", "test"):
        (folder / part).mkdir(parents=True)
    for name in ("0007_000_01_0303morning_0008_0.jpg", "0007_001_15_0303noon_0009_1.jpg"):
        (folder / "train/0007" / name).touch()
    for name in ("train", "val", "query", "gallery"):
        (folder / f"list_{name}.txt").write_text(lines if name == "train" else "")
    return MSMT17(root)


def test_msmt17_lists(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = (
        "0007/0007_001_15_0303noon_0009_1.jpg 7\n\n"
        "0007/0007_000_01_0303morning_0008_0.jpg 7\n"
        "0008/0008_000_01_0303morning_0008_0.jpg 8\n"
    )
    dataset = msmt17(tmp_path, lines)
    assert dataset.form == "v1"
    assert [t.camid for t in dataset.train.tracklets] == [0, 14]
    assert dataset.train.truth.pids.tolist() == [7, 7]
    assert "1 listed images of train are not in" in caplog.text
    with pytest.raises(UserError, match="none of the 0 images"):
        dataset.query  # noqa: B018


def test_msmt17_broken_list(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"list_train.txt, line 2: expected 'path identity', found '0007/x.jpg'"):
        msmt17(tmp_path, "0007/y.jpg 7\n0007/x.jpg\n").train  # noqa: B018


LAYOUTS = [
    (Market1501, "{pid:04d}_c{cam}s1_000451_03.jpg"),
    (DukeMTMCreID, "{pid:04d}_c{cam}_f0046182.jpg"),
    (VeRi776, "{pid:04d}_c{cam:03d}_00016450_0.jpg"),
    (PersonX, "{pid:04d}_c{cam}s0_02.jpg"),
    (CUHK03NP, "{pid:04d}_c{cam}_1.png"),
]


def layout(dataset: type[NamedFilesDataset], root: Path, **names: list[str]) -> NamedFilesDataset:
    base = root / "detected" if dataset is CUHK03NP else root
    for split, folder in dataset.split_folders.items():
        (base / folder).mkdir(parents=True, exist_ok=True)
        for name in names[split]:
            (base / folder / name).touch()
    return dataset(root)


@pytest.mark.parametrize(("kind", "form"), LAYOUTS)
def test_cameras_counted_from_0(tmp_path: Path, kind: type[NamedFilesDataset], form: str) -> None:
    def images(*cameras: int) -> list[str]:
        return [form.format(pid=pid, cam=cam) for pid in (1, 2) for cam in cameras]

    dataset = layout(kind, tmp_path, train=images(0, 1, 14), query=images(1), gallery=images(1, 14))
    cameras = {split: [t.camid for t in getattr(dataset, split).tracklets] for split in ("train", "query", "gallery")}
    assert {split: len(found) for split, found in cameras.items()} == {"train": 6, "query": 2, "gallery": 4}
    assert len(set(cameras["train"])) == 3
    assert min(cameras["train"]) >= 0
    assert set(cameras["query"]) < set(cameras["gallery"]) < set(cameras["train"]), "the same number in every split"


@pytest.mark.parametrize(("kind", "form"), LAYOUTS)
@pytest.mark.parametrize("number", ["pid", "cam"])
def test_numbers_that_no_record_can_hold(tmp_path: Path, kind: type[NamedFilesDataset], form: str, number: str) -> None:
    name = form.format(**{"pid": 1, "cam": 1, number: 10**20})
    good = [form.format(pid=1, cam=4)]
    with pytest.raises(UserError, match=f"{10**20} of .*{name[:4]}.* read such names with ImageFolder"):
        layout(kind, tmp_path, train=[name, *good], query=good, gallery=good).train  # noqa: B018


def test_two_spellings_of_a_number_are_one_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = {"train": ["7_c1_a.jpg"], "query": ["8_c1_a.jpg"], "gallery": ["0008_c02_a.jpg", "07_c2_a.jpg"]}
    dataset = layout(Market1501, tmp_path, **names)
    assert dataset.gallery.truth.pids.tolist() == [8, 7]
    assert "1 identity names look alike and are taken as one: '0008' and '8'" in caplog.text
    assert "1 camera names look alike and are taken as one: '02' and '2'" in caplog.text
    assert "'7'" not in caplog.text, "training identities have nothing to do with those of the test"


def test_other_negative_numbers_are_no_identities(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = ["0001_c1s1_000001_00.jpg"]
    dataset = layout(Market1501, tmp_path, train=good, query=good, gallery=[*good, "-2_c1s1_1.jpg", "-1_c1s1_1.jpg"])
    assert dataset.gallery.truth.pids.tolist() == [1]
    assert "1 files in" in caplog.text
    assert "first: -2_c1s1_1.jpg" in caplog.text


def test_msmt17_cameras_are_numbered_over_all_lists(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = msmt17(tmp_path, "0007/0007_001_15_0303noon_0009_1.jpg 7\n")
    test = "0001/0001_000_00_0303morning_0008_0.jpg"
    (dataset.folder / "test/0001").mkdir()
    (dataset.folder / "test" / test).touch()
    (dataset.folder / "list_query.txt").write_text(f"{test} 1\n")
    assert [t.camid for t in dataset.query.tracklets] == [0]
    assert [t.camid for t in dataset.train.tracklets] == [15]
    assert "cameras are counted from 0" in caplog.text
    assert "1 images of" in caplog.text
    assert "in no list (first: 0007/0007_000_01_0303morning_0008_0.jpg)" in caplog.text


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("0007/a.jpg 7\n\n0007/a.jpg 8\n", "list_train.txt, lines 1 and 3: 0007/a.jpg has two identities, 7 and 8"),
        (f"0007/a.jpg {10**20}\n", f"the identity {10**20} of .*list_train.txt, line 1"),
        (f"{GOOD} 7\n0007/0007_000_{10**20}_x.jpg 1\n", f"the camera {10**20} of .*list_train.txt, line 2"),
        ("0007/a.jpg -1\n", "line 1: expected 'path identity'"),
    ],
)
def test_msmt17_lines_that_cannot_be(tmp_path: Path, lines: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        msmt17(tmp_path, lines).train  # noqa: B018


def test_msmt17_lists_contradict_each_other(tmp_path: Path) -> None:
    dataset = msmt17(tmp_path, "0007/a.jpg 7\n")
    (dataset.folder / "list_val.txt").write_text("0007\\a.jpg\t8\n")
    sentence = "0007/a.jpg has identity 7 in .*list_train.txt, line 1, and 8 in .*list_val.txt"
    with pytest.raises(UserError, match=sentence):
        dataset.train  # noqa: B018
