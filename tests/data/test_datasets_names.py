"""File names of the image sets: identity, camera, and what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from unreid.data.datasets import CUHK03NP, MSMT17, DukeMTMCreID, Market1501, PersonX, ReIDDataset, VeRi776
from unreid.utils.errors import UserError

CASES = [
    (Market1501, "1501_c6s3_086567_02.jpg", (1501, 5)),
    (Market1501, "0000_c2s1_000001_00.jpg.jpg", (0, 1)),
    (Market1501, "-1_c1s1_000401_03.jpg", None),
    (DukeMTMCreID, "7140_c8_f0226533.jpg", (7140, 7)),
    (DukeMTMCreID, "0005_c0_f0046985.jpg", None),
    (PersonX, "0001_c12s0_02.jpg", (1, 5)),
    (PersonX, "0410_c3s1_17.jpg", (410, 0)),
    (PersonX, "0410_c5s1_17.jpg", None),
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
