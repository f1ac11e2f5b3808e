"""What cannot be scored is known before training."""

from __future__ import annotations

from pathlib import Path

import pytest

from unreid.data.datasets import ImageFolder, Market1501
from unreid.data.datasets.base import ReIDDataset
from unreid.data.datasets.scorable import check_scorable
from unreid.utils.errors import UserError


def market(root: Path, query: list[str], gallery: list[str]) -> ReIDDataset:
    for folder, names in (("bounding_box_train", ["0009_c1"]), ("query", query), ("bounding_box_test", gallery)):
        (root / folder).mkdir()
        for number, name in enumerate(names):
            (root / folder / f"{name}s1_{number:06d}_00.jpg").touch()
    return Market1501(root)


def test_all_can_be_scored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = market(tmp_path, ["0001_c1", "0002_c2"], ["0001_c2", "0002_c1", "0000_c3"])
    caplog.clear()
    check_scorable(data)
    assert "no match" not in caplog.text


def test_no_common_identity(tmp_path: Path) -> None:
    data = market(tmp_path, ["0001_c1", "0002_c2"], ["0003_c2"])
    with pytest.raises(UserError, match=r"query \(2 identities\) and gallery \(1 identities\) .* share no identity"):
        check_scorable(data)


def test_matches_of_the_own_camera_do_not_count(tmp_path: Path) -> None:
    data = market(tmp_path, ["0001_c1", "0002_c2"], ["0001_c1", "0002_c2", "0003_c1"])
    with pytest.raises(UserError, match="no query of .* has a match in another camera"):
        check_scorable(data)


def test_single_queries_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = market(tmp_path, ["0001_c1", "0002_c2", "0003_c3"], ["0001_c1", "0001_c2", "0002_c2"])
    check_scorable(data)
    assert "2 of 3 queries have no match that counts" in caplog.text
    assert "0002_c2s1_000001_00.jpg" in caplog.text


def test_a_query_must_not_find_itself(tmp_path: Path) -> None:
    for name in ("train/1.png", "test/anna/2.png", "test/ben/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    data = ImageFolder(tmp_path, query="test", gallery="./test/../test")
    with pytest.raises(UserError, match="2 of 2 queries are in the gallery themselves"):
        check_scorable(data)


def test_without_a_test_set_there_is_nothing_to_ask(tmp_path: Path) -> None:
    (tmp_path / "1.png").touch()
    check_scorable(ImageFolder(tmp_path, train="."))
