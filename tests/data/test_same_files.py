"""One file under many names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unreid.data.datasets.same_files import FileIndex


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "d/query").mkdir(parents=True)
    (tmp_path / "d/train").mkdir()
    for name in ("query/a.png", "train/b.png"):
        (tmp_path / "d" / name).touch()
    os.symlink(tmp_path / "d/query/a.png", tmp_path / "d/train/link.png")
    os.symlink("link.png", tmp_path / "d/train/link2.png")
    os.link(tmp_path / "d/query/a.png", tmp_path / "d/train/hard.png")
    os.symlink(tmp_path / "d", tmp_path / "e")
    (tmp_path / "d/train/copy.png").write_bytes((tmp_path / "d/query/a.png").read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    "spelling",
    [
        "d/query/a.png",
        "d/./query//a.png",
        "d/train/../query/a.png",
        "e/query/a.png",
        "d/train/link.png",
        "e/train/link2.png",
        "d/train/hard.png",
    ],
)
def test_a_file_has_many_names(tree: Path, spelling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    index = FileIndex([str(tree / "d/query/a.png")])
    assert index.holds(f"{tree}/{spelling}")
    monkeypatch.chdir(tree)
    assert index.holds(spelling), "relative paths too"
    assert index.add(spelling) == str((tree / "d/query/a.png").resolve())
    assert len(index) == 1


@pytest.mark.parametrize(
    "other", ["d/train/b.png", "d/train/copy.png", "d/query", "d/query/", "nowhere/a.png", "..", ""]
)
def test_other_files_are_others(tree: Path, other: str) -> None:
    assert not FileIndex([str(tree / "d/query/a.png")]).holds(f"{tree}/{other}")
    assert not FileIndex([]).holds(f"{tree}/{other}")


def test_what_does_not_exist_is_still_compared(tree: Path) -> None:
    index = FileIndex([f"{tree}/d/train/../gone/x.png"])
    assert index.holds(f"{tree}/e/gone/x.png")
    assert not index.holds(f"{tree}/d/gone/y.png")


def test_a_folder_is_listed_once(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: listed.append(str(folder)) or real(folder))
    index = FileIndex([f"{tree}/d/query/a.png", f"{tree}/d/query/c.png"])
    for number in range(100):
        index.holds(f"{tree}/d/train/{number}.png")
        index.holds(f"{tree}/d/query/a.png")
    assert len(listed) == len(set(listed))
