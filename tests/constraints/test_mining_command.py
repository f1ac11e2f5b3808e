"""The miner's command line on rendered datasets: what it writes, what it needs to be told, what it refuses."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unreid.config import load_config
from unreid.constraints import read_relation, save_pseudo_labels
from unreid.data.datasets import build_dataset
from unreid.engine.commands import MINE
from unreid.rendering.layouts import render_layout

CONFIG = Path(__file__).parents[2] / "configs" / "AuxUSL_dukevideo.yml"
TRAIN_NAMES = ("cross_camera_relation_train", "cannotlink_pts", "spatio_temporal_relation_train")
TEST_NAMES = ("cross_camera_relation_infer", "overlap_relation", "spatio_temporal_relation_infer")


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATASETS.ROOT with small rendered copies of both video layouts."""
    folder = tmp_path_factory.mktemp("layouts")
    for layout in ("dukevideo", "mars"):
        render_layout(layout, folder, ids=6, cameras=3, images=6, size=(32, 16))
    return folder


@pytest.fixture
def mine(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """(options, KEY, VALUE ...) -> exit status and what was said."""

    def run(*options: str, overrides: tuple[str, ...] = ()) -> tuple[int, str]:
        places = ("DATASETS.ROOT", str(root), "PICKLE_PATH", str(tmp_path / "pickles"), "DATASETS.DENSE_STEP", "3")
        status = MINE.main(["--config-file", str(CONFIG), *options, *places, *overrides])
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


def dataset(root: Path) -> Any:
    cfg = load_config(CONFIG, ["DATASETS.ROOT", str(root), "DATASETS.DENSE_STEP", "3"])
    return build_dataset("DukeMTMCVideoReID", cfg)


def keys_of(root: Path) -> list[str]:
    found = dataset(root)
    prefix = f"{found.folder}/"
    return [tracklet.paths[0].removeprefix(prefix) for tracklet in found.train.tracklets]


def test_the_first_stage_writes_what_needs_no_run_and_says_how_to_go_on(mine: Any, tmp_path: Path) -> None:
    status, said = mine()
    assert status == 0
    written = {path.name for path in (tmp_path / "pickles").iterdir()}
    assert written == {f"{name}.npz" for name in (*TRAIN_NAMES[:2], *TEST_NAMES[:2])}
    assert "TOC, training" in said and "pairs overlap in time" in said
    assert "--sts-from" in said and "CLUSTER.STR_OPTION False" in said


def test_the_keys_are_those_of_the_images_and_nothing_is_n_by_n(mine: Any, tmp_path: Path, root: Path) -> None:
    mine()
    found = read_relation(tmp_path / "pickles" / "cannotlink_pts.npz")
    assert found.rows.keys.tolist() == keys_of(root)
    assert found.meta["dataset"] == "DukeMTMCVideoReID" and found.meta["dense_step"] == 3
    assert found.meta["parameters"] == {"min_overlap": 0, "level": "clip", "exclude_pairs": []}
    assert found.links is not None and found.links.is_symmetric() and len(found.links)
    assert found.matrix is None
    truth = dataset(root).train.truth.pids
    assert (truth[found.links.rows()] != truth[found.links.index]).all(), "a person is in one place at a time"


def test_the_second_stage_learns_from_pseudo_labels_by_key(mine: Any, tmp_path: Path, root: Path) -> None:
    keys, truth = keys_of(root), dataset(root).train.truth.pids
    order = np.random.default_rng(0).permutation(len(keys))
    pseudo = tmp_path / "pseudo_labels.npz"
    save_pseudo_labels(pseudo, np.array(keys)[order].tolist(), truth[order], {"method": "X", "epoch": 3, "sts": True})
    status, said = mine("--sts-from", str(pseudo), "--min-count", "2")
    assert status == 0 and "comes from a run with STS" in said and "camera 1 to 2" in said
    assert {path.stem for path in (tmp_path / "pickles").glob("*.npz")} == {*TRAIN_NAMES, *TEST_NAMES}
    assert (tmp_path / "pickles" / "spatio_temporal_relation_train.png").stat().st_size > 5000
    learnt = read_relation(tmp_path / "pickles" / f"{TRAIN_NAMES[2]}.npz")
    applied = read_relation(tmp_path / "pickles" / f"{TEST_NAMES[2]}.npz")
    assert learnt.travel is not None and applied.travel is not None and applied.columns is not None
    assert np.array_equal(learnt.travel.table, applied.travel.table)
    assert learnt.meta["source"].endswith("(X, epoch 3)") and learnt.meta["supervised"] is False

    mine("--sts-from", "identity", "--allow-labels", "--min-count", "2")
    supervised = read_relation(tmp_path / "pickles" / f"{TRAIN_NAMES[2]}.npz")
    assert supervised.meta["supervised"] is True and supervised.travel is not None
    np.testing.assert_allclose(supervised.travel.table, learnt.travel.table, atol=1e-6)


def test_given_walking_times(mine: Any, tmp_path: Path) -> None:
    times = tmp_path / "travel.json"
    times.write_text(json.dumps({"1-3": [20.0, 5.0]}))
    assert mine("--sts-from", str(times))[0] == 0
    travel = read_relation(tmp_path / "pickles" / f"{TRAIN_NAMES[2]}.npz").travel
    assert travel is not None and travel.cameras == 8
    peak = (int(travel.table[0, 2].argmax()) - travel.origin) * travel.bin
    assert abs(peak / 59.94 - 20) < 2
    for content in ("{}x", '{"1-9": [1, 1]}', '{"1-2": [1, 0]}', '{"0-2": [1, 1]}', '{"1-2": 3}', "[1]"):
        times.write_text(content)
        status, said = mine("--sts-from", str(times))
        assert status == 2 and "travel.json" in said, content


def test_names_of_the_config_and_options_are_obeyed(mine: Any, tmp_path: Path) -> None:
    mine("--min-overlap", "30", "--exclude-pairs", "1-2,2-3", "--level", "track")
    few = read_relation(tmp_path / "pickles" / "cannotlink_pts.npz")
    assert few.meta["parameters"] == {"min_overlap": 30, "level": "track", "exclude_pairs": [[1, 2], [2, 3]]}
    assert few.links is not None
    cameras = {frozenset(pair) for pair in zip(few.rows.camids[few.links.rows()], few.rows.camids[few.links.index])}
    assert frozenset((0, 1)) not in cameras and frozenset((1, 2)) not in cameras
    mine(overrides=("CLUSTER.ICDBSCAN_CONSTRAINT_PATH", "mine/links.pickle", "TEST.CCE_PATH", ""))
    assert (tmp_path / "pickles" / "mine" / "links.npz").is_file()
    assert (tmp_path / "pickles" / "cross_camera_relation_infer.npz").is_file()


def test_mars_has_cameras_only(mine: Any, tmp_path: Path) -> None:
    mars = ("DATASETS.NAMES", "['MARS']", "DATASETS.MODE", "all")
    status, said = mine(overrides=mars)
    assert status == 0 and "MARS: file names hold no time" in said
    names = {path.stem for path in (tmp_path / "pickles").iterdir()}
    assert names == {"cross_camera_relation_train", "cross_camera_relation_infer"}
    save_pseudo_labels(tmp_path / "p.npz", ["other.jpg"], np.zeros(1), {})
    status, said = mine("--sts-from", str(tmp_path / "p.npz"), overrides=mars)
    assert status == 2 and "TOC and STS cannot be mined" in said


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--sts-from", "identity"), "add --allow-labels"),
        (("--sts-from", "nowhere.npz"), "nowhere.npz cannot be read"),
        (("--sts-from", "identity", "--allow-labels", "--min-count", "5000"), "too little to learn walking times"),
        (("--bin", "0"), "--bin and --min-count"),
        (("--unknown", "2"), "--unknown must be between 0 and 1"),
        (("--convert", "some.pickle"), "some.pickle is none of cannotlink_pts.pickle"),
        (("--convert", "overlap_relation.pickle"), "give the keys of its rows and columns with --keys"),
    ],
)
def test_mistakes_are_one_sentence(mine: Any, options: tuple[str, ...], sentence: str) -> None:
    status, said = mine(*options)
    assert status == 2 and sentence in said


def test_pseudo_labels_of_other_tracklets_are_refused(mine: Any, tmp_path: Path) -> None:
    save_pseudo_labels(tmp_path / "p.npz", ["other.jpg"], np.zeros(1), {})
    status, said = mine("--sts-from", str(tmp_path / "p.npz"))
    assert status == 2 and "comes from a run on other tracklets" in said


def test_several_datasets_are_refused(mine: Any) -> None:
    status, said = mine(overrides=("DATASETS.NAMES", "['DukeMTMCVideoReID', 'MARS']"))
    assert status == 2 and "one dataset at a time" in said
    with pytest.raises(SystemExit):
        mine("--exclude-pairs", "1+2")


def test_an_old_pickle_of_the_training_set_is_converted_in_sorted_order(mine: Any, tmp_path: Path, root: Path) -> None:
    keys = keys_of(root)  # the parser sorts
    matrix = np.random.default_rng(0).random((len(keys),) * 2, dtype=np.float32)
    source = tmp_path / "spatio_temporal_relation_train.pickle"
    source.write_bytes(pickle.dumps(matrix, protocol=3))
    status, said = mine("--convert", str(source))
    assert status == 0, said
    found = read_relation(source.with_suffix(".npz"))
    assert found.rows.keys.tolist() == keys and found.matrix is not None and np.array_equal(found.matrix, matrix)

    overlap = tmp_path / "overlap_relation.pickle"
    overlap.write_bytes(pickle.dumps(np.array([[0.0, 1.0]], dtype=np.float32)))
    listed = tmp_path / "keys.json"
    listed.write_text(json.dumps({"rows": ["q"], "columns": ["a", "b"]}))
    assert mine("--convert", str(overlap), "--keys", str(listed))[0] == 0
    assert read_relation(overlap.with_suffix(".npz")).links.index.tolist() == [1]
