"""Datasets on empty files with the official names: what is kept, what is reported, what stops."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unreid.data.datasets import DATASETS, Counts, Market1501, build_dataset, train_view
from unreid.data.datasets.statistics import closest, differences, table
from unreid.structures import Tracklet
from unreid.utils.errors import UserError

TRAIN = ["0002_c1s1_000451_03.jpg", "0002_c6s4_014102_01.jpg", "0007_c3s3_077419_03.jpg"]
QUERY = ["0001_c1s1_001051_00.jpg", "0003_c4s6_015641_00.jpg"]
GALLERY = ["-1_c3s1_000401_01.jpg", "0000_c1s1_000151_01.jpg", "0001_c2s1_001076_01.jpg", "0003_c1s6_015971_02.jpg"]


def touch(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def market(root: Path, folder: str = "Market-1501-v15.09.15", train: list[str] | None = None) -> Path:
    touch(root / folder / "bounding_box_train", TRAIN if train is None else train)
    touch(root / folder / "query", QUERY)
    touch(root / folder / "bounding_box_test", GALLERY)
    return root


def test_market_rules(tmp_path: Path) -> None:
    dataset = Market1501(market(tmp_path))
    assert [Path(t.paths[0]).name for t in dataset.train.tracklets] == TRAIN
    assert [t.camid for t in dataset.train.tracklets] == [0, 5, 2]
    assert dataset.train.truth.pids.tolist() == [2, 2, 7]
    assert dataset.query.truth.pids.tolist() == [1, 3]
    assert dataset.gallery.truth.pids.tolist() == [0, 1, 3], "junk is dropped, the distractor stays"
    assert dataset.gallery.truth.pids.dtype == np.int64
    assert all(Path(t.paths[0]).is_absolute() for t in dataset.gallery.tracklets)


def test_root_may_be_the_dataset_folder(tmp_path: Path) -> None:
    market(tmp_path)
    direct = Market1501(tmp_path / "Market-1501-v15.09.15")
    assert direct.folder == Market1501(tmp_path).folder


def test_only_the_file_name_is_parsed(tmp_path: Path) -> None:
    dataset = Market1501(market(tmp_path / "0012_c3s1_backup"))
    assert [t.camid for t in dataset.train.tracklets] == [0, 5, 2]
    assert dataset.train.truth.pids.tolist() == [2, 2, 7]


def test_splits_are_lazy(tmp_path: Path) -> None:
    dataset = Market1501(market(tmp_path, train=[]))
    assert len(dataset.query) == 2
    with pytest.raises(UserError, match="bounding_box_train has no image with a name like"):
        dataset.train  # noqa: B018


def test_missing_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Market1501 was not found in .*DATASETS.ROOT.*bounding_box_train"):
        Market1501(tmp_path)
    touch(tmp_path / "Market-1501-v15.09.15" / "query", QUERY)
    with pytest.raises(UserError, match="lacks bounding_box_train, bounding_box_test"):
        Market1501(tmp_path)


def test_foreign_files_are_counted_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [*TRAIN, "holiday.jpg", "c1_0002.png", ".0005_c1s1_000000_00.jpg", "Thumbs.db", "0004_c1s1_1.txt"]
    dataset = Market1501(market(tmp_path, train=names))
    (dataset.folder / "bounding_box_train" / "0009_c1s1_000001_00.jpg").mkdir()
    with caplog.at_level(logging.WARNING):
        assert len(dataset.train) == 3
    about = [r.getMessage() for r in caplog.records if "left out" in r.getMessage()]
    assert len(about) == 1
    assert about[0].startswith("Market1501: 2 files")


def test_official_counts_warn_or_refuse(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    market(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert len(Market1501(tmp_path).query) == 2
    assert "2 identities (official: 750), 2 samples (official: 3,368), 2 cameras (official: 6)" in caplog.text
    with pytest.raises(UserError, match="STRICT"):
        Market1501(tmp_path, strict=True).query  # noqa: B018


def test_statistics(tmp_path: Path) -> None:
    found = Market1501(market(tmp_path)).statistics()
    assert found == {"train": Counts(2, 3, 3, 3), "query": Counts(2, 2, 2, 2), "gallery": Counts(3, 3, 2, 3)}
    assert "gallery" in table("Market1501", found)
    assert differences(Counts(5, 6, 7), Counts(5, 6, 7)) == []
    assert closest(Counts(5, 6, 7), [Counts(1, 1, 1), Counts(5, 6, 8)]) == ["7 cameras (official: 8)"]


def test_build_dataset_from_config(tmp_path: Path) -> None:
    cfg = SimpleNamespace(DATASETS=SimpleNamespace(ROOT=str(market(tmp_path)), STRICT=False))
    assert isinstance(build_dataset("market1501", cfg), Market1501)
    assert isinstance(build_dataset("market", cfg), Market1501)
    assert "Market1501" in DATASETS
    with pytest.raises(UserError, match="Did you mean 'Market1501'"):
        build_dataset("Market1502", cfg)


def test_train_view_is_a_seeded_permutation(tmp_path: Path) -> None:
    names = [f"{pid:04d}_c{cam}s1_000000_{k:02d}.jpg" for pid in range(1, 9) for cam in (1, 2) for k in range(4)]
    dataset = Market1501(market(tmp_path, train=names))
    first, again, other = train_view([dataset], 1), train_view([dataset], 1), train_view([dataset], 2)
    assert first.tracklets == again.tracklets
    assert [t.paths for t in first.tracklets] != [t.paths for t in other.tracklets]
    assert sorted(t.paths for t in first.tracklets) == sorted(t.paths for t in dataset.train.tracklets)
    assert [t.trackid for t in first.tracklets] == list(range(64)), "pass numbers follow the permuted order"
    for tracklet, pid in zip(first.tracklets, first.truth.pids, strict=True):
        name = Path(tracklet.paths[0]).name
        assert int(name[:4]) == pid + 1
        assert int(name.split("_c")[1][0]) == tracklet.camid + 1


@given(st.integers(0, 2**32 - 1), st.randoms())
def test_train_view_ignores_the_order_of_the_file_system(seed: int, random: object) -> None:
    class Listed(Market1501):
        def __init__(self, names: list[str]) -> None:
            self.folder, self.strict = Path("/nowhere"), False
            self.names = names

        def _parse(self, split: str) -> tuple[list[Tracklet], list[int]]:
            records = [Tracklet((f"/nowhere/{name}",), 0, i) for i, name in enumerate(self.names)]
            return records, [int(name[:4]) for name in self.names]

    names = [f"{pid:04d}_{k}.jpg" for pid in range(5) for k in range(3)]
    mixed = list(names)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    one, two = train_view([Listed(names)], seed), train_view([Listed(mixed)], seed)
    assert one.tracklets == two.tracklets
    assert one.truth.pids.tolist() == two.truth.pids.tolist()


def test_train_view_keeps_several_sets_apart(tmp_path: Path) -> None:
    one = Market1501(market(tmp_path / "a"))
    two = Market1501(market(tmp_path / "b"))
    view = train_view([one, two], 0)
    first = {t.camid for t in view.tracklets if "/a/" in t.paths[0]}
    second = {t.camid for t in view.tracklets if "/b/" in t.paths[0]}
    assert first == {0, 5, 2}
    assert second == {6, 11, 8}
    assert sorted(view.truth.pids.tolist()) == [0, 0, 1, 2, 2, 3]
    with pytest.raises(ValueError, match="at least one"):
        train_view([], 0)
