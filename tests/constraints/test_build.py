"""From the documented keys to relations in the order of a run: which file is read, and what is said when it cannot."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.constraints.test_legacy_pickle import Hostile
from unreid.config import CfgNode, get_cfg
from unreid.constraints import (
    Penalty,
    Records,
    RelationFile,
    SpatioTemporalFactor,
    TravelTable,
    mine_overlaps,
    query_gallery_modifiers,
    save_relation,
    train_constraints,
)
from unreid.utils.errors import UserError

from .worlds import random_records

TRAVEL = TravelTable(np.random.default_rng(0).random((3, 3, 41), dtype=np.float32), bin=20, unknown=0.25)
TRAIN = random_records(3, 12)
SPLIT = 5


def sides() -> tuple[Records, Records]:
    return TRAIN.take(np.arange(SPLIT)), TRAIN.take(np.arange(SPLIT, 12))


def config(folder: Path, *overrides: Any) -> CfgNode:
    cfg = get_cfg()
    cfg.merge_from_list(["PICKLE_PATH", str(folder), *overrides])
    return cfg


@pytest.fixture
def mined(tmp_path: Path) -> Path:
    """All six relations under their documented names."""
    query, gallery = sides()
    for name, kind, columns in (
        ("cannotlink_pts", "cannot_link", None),
        ("spatio_temporal_relation_train", "spatio_temporal", None),
        ("cross_camera_relation_train", "same_camera", None),
        ("overlap_relation", "overlap", gallery),
        ("spatio_temporal_relation_infer", "spatio_temporal", gallery),
        ("cross_camera_relation_infer", "same_camera", gallery),
    ):
        rows = TRAIN if columns is None else query
        links = mine_overlaps(rows, columns) if kind in ("cannot_link", "overlap") else None
        travel = TRAVEL if kind == "spatio_temporal" else None
        save_relation(tmp_path / f"{name}.npz", RelationFile({"kind": kind}, rows, columns, links, travel))
    return tmp_path


TRAIN_ON = ("CLUSTER.CCE_OPTION", True, "CLUSTER.STR_OPTION", True, "CLUSTER.ICDBSCAN_OPTION", True)
TEST_ON = ("TEST.OVERLAP_CONSTRAINT", True, "TEST.CCE_OPTION", True, "TEST.STR_OPTION", True)


def test_nothing_is_asked_for_by_default(tmp_path: Path) -> None:
    assert train_constraints(config(tmp_path), TRAIN) is None
    assert query_gallery_modifiers(config(tmp_path), *sides()) == []


def test_all_modules_in_training_follow_the_order_of_the_run(mined: Path) -> None:
    order = np.random.default_rng(1).permutation(12)
    found = train_constraints(config(mined, *TRAIN_ON, "CLUSTER.CCE_LAMBDA", 0.01), TRAIN.take(order))
    assert found is not None and found.links is not None
    scp, sts = found.modifiers
    assert isinstance(scp, Penalty) and scp.penalty == 0.01
    assert isinstance(sts, SpatioTemporalFactor) and (sts.strength, sts.gamma) == (0.6, 8.0)
    cameras = TRAIN.camids[order]
    assert torch.equal(scp.relation.block(slice(0, 12)), torch.from_numpy(cameras[:, None] == cameras).float())
    again = train_constraints(config(mined, *TRAIN_ON), TRAIN)
    assert again is not None
    torch.testing.assert_close(
        sts.relation.block(slice(0, 12)), again.modifiers[1].relation.block(slice(0, 12))[order][:, order]
    )
    expected = mine_overlaps(TRAIN.take(order))
    assert np.array_equal(found.links.start, expected.start) and np.array_equal(found.links.index, expected.index)


def test_all_modules_at_test_in_the_published_order(mined: Path) -> None:
    found = query_gallery_modifiers(config(mined, *TEST_ON, "CLUSTER.STR_GAMMA", 4.0), *sides())
    assert [type(modifier) for modifier in found] == [Penalty, Penalty, SpatioTemporalFactor]
    assert found[1].penalty == 0.03 and found[2].gamma == 4.0  # type: ignore[attr-defined]
    assert all(modifier.relation.shape == (SPLIT, 12 - SPLIT) for modifier in found)


def test_a_missing_relation_names_the_key_the_files_and_the_miner(tmp_path: Path) -> None:
    for key, option in (
        ("CLUSTER.STR_PATH", "CLUSTER.STR_OPTION"),
        ("CLUSTER.ICDBSCAN_CONSTRAINT_PATH", "CLUSTER.ICDBSCAN_OPTION"),
    ):
        with pytest.raises(UserError, match=rf"{key}: there is neither .*\.npz nor .*\.pickle .*unreid mine"):
            train_constraints(config(tmp_path, option, True), TRAIN)
    with pytest.raises(UserError, match="TEST.CONSTRAINT_PATH"):
        query_gallery_modifiers(config(tmp_path, "TEST.OVERLAP_CONSTRAINT", True), *sides())


def test_the_same_camera_relation_needs_no_file(tmp_path: Path, mined: Path) -> None:
    without = train_constraints(config(tmp_path / "empty", "CLUSTER.CCE_OPTION", True), TRAIN)
    with_file = train_constraints(config(mined, "CLUSTER.CCE_OPTION", True), TRAIN)
    assert without is not None and with_file is not None
    blocks = [found.modifiers[0].relation.block(slice(0, 12)) for found in (without, with_file)]
    assert torch.equal(*blocks)


def test_a_relation_of_another_kind_is_refused(mined: Path) -> None:
    for key, option, name in (
        ("CLUSTER.STR_PATH", "CLUSTER.STR_OPTION", "cannotlink_pts"),
        ("CLUSTER.ICDBSCAN_CONSTRAINT_PATH", "CLUSTER.ICDBSCAN_OPTION", "cross_camera_relation_train"),
        ("CLUSTER.CCE_PATH", "CLUSTER.CCE_OPTION", "spatio_temporal_relation_train"),
    ):
        with pytest.raises(UserError, match=rf"{name}\.npz holds a .* relation where a .* relation is needed"):
            train_constraints(config(mined, option, True, key, f"{name}.npz"), TRAIN)
    with pytest.raises(UserError, match="relates test tracklets, a relation of training"):
        train_constraints(
            config(mined, "CLUSTER.STR_OPTION", True, "CLUSTER.STR_PATH", "spatio_temporal_relation_infer"), TRAIN
        )


def test_supervised_relations_are_announced(mined: Path, caplog: pytest.LogCaptureFixture) -> None:
    meta = {"kind": "spatio_temporal", "supervised": True}
    save_relation(mined / "spatio_temporal_relation_train.npz", RelationFile(meta, TRAIN, travel=TRAVEL))
    with caplog.at_level(logging.WARNING, logger="unreid"):
        train_constraints(config(mined, "CLUSTER.STR_OPTION", True), TRAIN)
    assert "WITH identity labels" in caplog.text


def old_file(folder: Path, name: str, content: Any, keys: dict[str, Any] | None) -> None:
    (folder / f"{name}.pickle").write_bytes(pickle.dumps(content, protocol=3))
    if keys is not None:
        (folder / f"{name}.keys.json").write_text(json.dumps(keys))


def test_old_pickles_work_with_a_list_of_their_keys(tmp_path: Path) -> None:
    order = np.random.default_rng(2).permutation(12)
    keys = {"rows": TRAIN.keys[order].tolist()}
    links = mine_overlaps(TRAIN.take(order))
    sets = {i: set(links.index[links.start[i] : links.start[i + 1]].tolist()) for i in range(12)}
    matrix = np.random.default_rng(3).random((12, 12), dtype=np.float32)
    old_file(tmp_path, "cannotlink_pts", sets, keys)
    old_file(tmp_path, "spatio_temporal_relation_train", matrix, keys)
    old_file(tmp_path, "cross_camera_relation_train", np.eye(12, dtype=np.float32), keys)
    found = train_constraints(config(tmp_path, *TRAIN_ON), TRAIN)
    assert found is not None and found.links is not None
    expected = mine_overlaps(TRAIN)
    assert np.array_equal(found.links.start, expected.start) and np.array_equal(found.links.index, expected.index)
    back = np.argsort(order)
    assert np.array_equal(found.modifiers[1].relation.block(slice(0, 12)).numpy(), matrix[np.ix_(back, back)])

    query, gallery = sides()
    both = {"rows": query.keys.tolist(), "columns": gallery.keys.tolist()}
    overlap = np.random.default_rng(4).integers(0, 2, (SPLIT, 12 - SPLIT)).astype(np.float32)
    old_file(tmp_path, "overlap_relation", torch.from_numpy(overlap), both)
    (toc,) = query_gallery_modifiers(config(tmp_path, "TEST.OVERLAP_CONSTRAINT", True), query, gallery)
    assert np.array_equal(toc.relation.block(slice(0, SPLIT)).numpy(), overlap)


@pytest.mark.parametrize(
    ("content", "keys", "complaint"),
    [
        (np.ones((12, 12)), None, r"does not say which tracklet.*keys\.json"),
        (
            np.ones((12, 11)),
            TRAIN.keys.tolist(),
            r"does not fit the 12 x 12 keys: .* shape \(12, 11\)",
        ),
        (-np.ones((12, 12)), TRAIN.keys.tolist(), "negative values"),
        ([1, 2], TRAIN.keys.tolist(), "a list where a matrix is expected"),
        (np.ones((12, 12)), [*TRAIN.keys.tolist()[:-1], "other.jpg"], "does not know"),
    ],
)
def test_old_pickles_that_do_not_fit_are_refused_by_name(
    tmp_path: Path, content: Any, keys: list[str] | None, complaint: str
) -> None:
    old_file(tmp_path, "spatio_temporal_relation_train", content, None if keys is None else {"rows": keys})
    with pytest.raises(UserError, match=rf"spatio_temporal_relation_train\.pickle.*{complaint}"):
        train_constraints(config(tmp_path, "CLUSTER.STR_OPTION", True), TRAIN)


def test_a_hostile_pickle_is_refused_before_anything_else_is_asked(tmp_path: Path) -> None:
    old_file(tmp_path, "spatio_temporal_relation_train", Hostile(tmp_path / "marker"), None)
    with pytest.raises(UserError, match="was refused and nothing in it was run.*unreid mine"):
        train_constraints(config(tmp_path, "CLUSTER.STR_OPTION", True), TRAIN)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("content", ["no json", "[]", '{"rows": [1]}', '{"rows": ["a", "a"]}', '{"columns": ["a"]}'])
def test_a_damaged_key_list_is_named(tmp_path: Path, content: str) -> None:
    old_file(tmp_path, "spatio_temporal_relation_train", np.ones((12, 12)), None)
    (tmp_path / "spatio_temporal_relation_train.keys.json").write_text(content)
    with pytest.raises(UserError, match=r"keys\.json"):
        train_constraints(config(tmp_path, "CLUSTER.STR_OPTION", True), TRAIN)


def test_a_mined_file_wins_over_an_old_one_of_its_stem(mined: Path) -> None:
    (mined / "spatio_temporal_relation_train.pickle").write_bytes(b"not even a pickle")
    assert train_constraints(config(mined, "CLUSTER.STR_OPTION", True), TRAIN) is not None
