"""Files of mined relations: what is written is read back, matched by key, and nothing else passes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unreid.constraints import RelationFile, TravelTable, mine_overlaps, read_relation, save_relation
from unreid.constraints.relation_file import POINTER, align
from unreid.utils.errors import UserError

from .worlds import random_records

TRAVEL = TravelTable(np.random.default_rng(0).random((3, 3, 5), dtype=np.float32), bin=100, unknown=0.25)


def train_file() -> RelationFile:
    records = random_records(3, 12)
    meta = {"kind": "cannot_link", "mode": "dense", "dense_step": 40}
    return RelationFile(meta, records, links=mine_overlaps(records), travel=TRAVEL)


def equal(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    return all(np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True))


def test_a_file_reads_back_and_holds_no_objects(tmp_path: Path) -> None:
    written = train_file()
    save_relation(tmp_path / "x.npz", written)
    read = read_relation(tmp_path / "x.npz")
    assert read.meta == written.meta and read.columns is None and read.matrix is None
    for name in ("rows", "links", "travel"):
        assert equal(getattr(read, name), getattr(written, name)), name
    with np.load(tmp_path / "x.npz", allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)
        assert {"row_keys", "row_len", "row_cam", "row_start", "row_track_end", "toc_indptr", "sts_table"} <= {*file}
        assert file["toc_indices"].dtype == np.int32 and max(array.size for array in map(file.get, file)) < 12 * 12
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def test_records_are_matched_by_key_in_any_order_and_as_a_subset() -> None:
    file = train_file()
    order = np.random.default_rng(0).permutation(12)[:7]
    keys = file.rows.keys[order].tolist()
    found = align(file, "x.npz", keys, row_lengths=file.rows.lengths[order])
    assert found.rows.keys.tolist() == keys and found.links is not None and file.links is not None
    dense = np.zeros((12, 12), dtype=bool)
    dense[file.links.rows(), file.links.index] = True
    part = np.zeros((7, 7), dtype=bool)
    part[found.links.rows(), found.links.index] = True
    assert np.array_equal(part, dense[np.ix_(order, order)])


def test_a_test_relation_is_matched_on_both_sides() -> None:
    records = random_records(3, 12)
    query, gallery = records.take(np.arange(4)), records.take(np.arange(4, 12))
    matrix = np.arange(32, dtype=np.float32).reshape(4, 8)
    file = RelationFile({}, query, gallery, links=mine_overlaps(query, gallery), matrix=matrix)
    found = align(file, "x", query.keys[::-1].tolist(), gallery.keys[2:5].tolist())
    assert found.matrix is not None and np.array_equal(found.matrix, matrix[::-1, 2:5])
    assert found.shape == (4, 3)
    with pytest.raises(UserError, match="relates test tracklets, a relation of training tracklets is needed"):
        align(file, "x", query.keys.tolist())


def test_foreign_records_are_named_with_the_cut_of_file_and_run() -> None:
    file = train_file()
    keys = file.rows.keys.tolist()
    with pytest.raises(
        UserError, match=r"x\.npz does not know other\.jpg \(file: mode dense, dense_step 40; run: me\)"
    ):
        align(file, "x.npz", [*keys[:3], "other.jpg"], run="me")
    longer = file.rows.lengths + np.eye(12, dtype=np.int64)[5]
    with pytest.raises(UserError, match=f"knows {keys[5]} with 2 images, the run has 3"):
        align(file, "x.npz", keys, row_lengths=longer)


def corrupt(**changes: Any) -> dict[str, Any]:
    rows = random_records(3, 2)
    arrays: dict[str, Any] = {"version": np.int64(1), "meta": np.str_("{}")}
    arrays |= {"row_keys": rows.keys, "row_len": rows.lengths, "row_cam": rows.camids, "row_track": rows.tracks}
    arrays |= {"toc_indptr": np.array([0, 1, 2]), "toc_indices": np.array([1, 0], dtype=np.int32)}
    return {name: value for name, value in (arrays | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"version": np.int64(2)}, "version 2, not 1"),
        ({"row_keys": None}, "lacks keys"),
        ({"row_keys": np.array(["a", "a"])}, "different names"),
        ({"row_cam": np.zeros(3, dtype=np.int64)}, "row_cam does not fit"),
        ({"row_cam": np.zeros(2)}, "row_cam does not fit"),
        ({"toc_indptr": np.array([0, 2, 1])}, "contradict"),
        ({"toc_indices": np.array([1, 5], dtype=np.int32)}, "contradict"),
        ({"matrix": np.zeros((2, 3), dtype=np.float32)}, "matrix of shape"),
        ({"sts_table": np.zeros((2, 2, 4)), "sts_bin": 1, "sts_origin": 2, "sts_unknown": 0.0}, "sts_table of shape"),
        ({"sts_table": np.full((2, 2, 5), 2.0), "sts_bin": 1, "sts_origin": 2, "sts_unknown": 0.0}, "outside 0..1"),
        ({"sts_table": np.full((2, 2, 5), np.nan), "sts_bin": 1, "sts_origin": 2, "sts_unknown": 0.0}, "outside 0..1"),
        ({"meta": np.str_("no json")}, "Expecting value"),
    ],
)
def test_arrays_that_contradict_each_other_are_refused(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    np.savez(tmp_path / "x.npz", **corrupt(**changes))
    with pytest.raises(UserError, match=f"no file of mined relations.*{complaint}"):
        read_relation(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", **corrupt())
    assert len(read_relation(tmp_path / "x.npz").rows) == 2


def test_objects_damage_pointers_and_absence_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, **corrupt(row_keys=np.array([{1}, {2}], dtype=object)))
    with pytest.raises(UserError, match="Object arrays cannot be loaded"):
        read_relation(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="damaged"):
        read_relation(path)
    path.write_bytes(POINTER + b"v1\noid sha256:0\nsize 730999\n")
    with pytest.raises(UserError, match="git-lfs pointer.*git lfs pull.*unreid mine"):
        read_relation(path)
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_relation(tmp_path / "none.npz")


def test_meta_is_json(tmp_path: Path) -> None:
    save_relation(tmp_path / "x.npz", replace(train_file(), meta={"supervised": True, "parameters": {"bin": 100}}))
    with np.load(tmp_path / "x.npz") as file:
        assert json.loads(str(file["meta"])) == {"supervised": True, "parameters": {"bin": 100}}
