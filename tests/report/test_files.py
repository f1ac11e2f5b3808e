"""What a report reads, and what it says of a folder that is no run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unreid.config import load_config
from unreid.data.datasets.base import Split
from unreid.engine.environment import recorded
from unreid.engine.reporting.files import read_run_files
from unreid.engine.reporting.sampling import choose_gallery, choose_queries, choose_train
from unreid.structures import GroundTruth, Tracklet
from unreid.utils.errors import UserError


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    cfg = load_config(None, ["OPTIM.LR", "0.1", "SEED", "3"])
    (folder / "config.yaml").write_text(recorded(cfg).dump())
    return folder


def test_what_is_no_run_is_one_sentence(tmp_path: Path, run_folder: Path) -> None:
    with pytest.raises(UserError, match="There is no folder .*nowhere: name the OUTPUT_DIR of a run"):
        read_run_files(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is no run: it has no config.yaml"):
        read_run_files(tmp_path)
    (run_folder / "results.json").write_text("[1]")
    with pytest.raises(UserError, match="results.json cannot be read: it is no table"):
        read_run_files(run_folder)
    (run_folder / "results.json").write_text('{"half')
    with pytest.raises(UserError, match="results.json cannot be read: it is damaged"):
        read_run_files(run_folder)


def test_a_run_that_has_just_begun_is_read(run_folder: Path) -> None:
    files = read_run_files(run_folder)
    assert files.state == "under way or cut off" and files.checkpoint is None and files.rounds == []
    assert ("OPTIM.LR", "0.1", "0.00035", "") in files.settings
    assert all(key not in ("SOLVER", "MODEL.BACKBONE.NAME") for key, *_ in files.settings)


def test_half_a_table_is_read_as_far_as_it_goes(run_folder: Path) -> None:
    head = "round,epochs,clusters,outliers,largest,mean_size,W mAP\n"
    (run_folder / "rounds.csv").write_text(head + "0,1,9,3,4,2.5,\n1,2,8,nan,4,2.5,40.5\n2,3,7,2,4,2.5,41\n3,4\n")
    lines = ('{"step": 1, "loss/a": 2.0}', "[3]", '{"step": "4"}', '{"step": 2, "lo', '{"step": 3}', '{"step": 4, "lo')
    (run_folder / "metrics.jsonl").write_text("\n".join(lines))  # killed, gone on with, killed again
    (run_folder / "environment.json").write_text(json.dumps({"origins": {"OPTIM.LR": "command line"}}))
    files = read_run_files(run_folder)
    assert [row["round"] for row in files.rounds] == [0, 2] and files.rounds[1]["W mAP"] == 41
    assert "W mAP" not in files.rounds[0]
    assert files.metrics == [{"step": 1, "loss/a": 2.0}, {"step": 3}]
    assert ("OPTIM.LR", "0.1", "0.00035", "command line") in files.settings


def test_the_seeds_of_a_repeat_are_found_from_their_folder_and_from_one_of_them(run_folder: Path) -> None:
    above = run_folder.parent / "repeat"
    for seed in (10, 9):
        own = above / f"seed_{seed}"
        own.mkdir(parents=True)
        (own / "config.yaml").write_text((run_folder / "config.yaml").read_text())
        (own / "results.json").write_text(json.dumps({"finished": True, "last": {"W": {"mAP": seed}}}))
    for place in (above, above / "seed_9"):
        files = read_run_files(place)
        assert list(files.repeats) == ["seed_9", "seed_10"] and files.own.name == "seed_9"
    assert read_run_files(above / "seed_10").own.name == "seed_10"
    assert read_run_files(run_folder).repeats == {}


@given(st.lists(st.integers(-1, 12), min_size=1, max_size=300), st.integers(1, 120))
def test_a_sample_of_the_training_list_is_bounded_and_takes_clusters_whole(labels: list[int], most: int) -> None:
    array = np.array(labels)
    chosen = choose_train(array, len(array), most)
    assert len(chosen) <= max(most, 0) or len(array) <= most
    assert (np.diff(chosen) > 0).all()
    assert choose_train(array, len(array), 0).tolist() == list(range(len(array)))
    members = np.bincount(array[array >= 0]).clip(max=60)
    fits = members[members > 0] <= most - (array[chosen] < 0).sum()
    if len(array) > most and not fits.any():
        assert len(chosen) == most
    elif len(array) > most:
        for name in np.unique(array[chosen]):
            if name >= 0:
                assert (array[chosen] == name).sum() == min((array == name).sum(), 60)


def test_a_cluster_that_does_not_fit_is_left_out_and_smaller_ones_are_taken() -> None:
    labels = np.repeat([0, 1, 2, 3, -1], [50, 40, 5, 4, 1])
    chosen = choose_train(labels, 100, 61)
    assert np.bincount(labels[chosen] + 1, minlength=5).tolist() == [1, 50, 0, 5, 4]
    assert np.bincount(labels[choose_train(labels, 100, 3)] + 1, minlength=5).tolist() == [0, 2, 1, 0, 0], "none fits"
    assert len(choose_train(None, 100, 7)) == 7 and choose_train(None, 100, 7)[0] == 0
    outliers = choose_train(np.repeat([0, -1], [10, 90]), 100, 20)
    assert (outliers >= 10).sum() == 18, "in proportion"


def test_a_sample_of_the_test_keeps_all_matches_of_its_queries() -> None:
    rng = np.random.default_rng(0)

    def split(count: int) -> Split:
        pids = rng.integers(0, 40, count)
        return Split([Tracklet((f"{i}",), int(rng.integers(0, 3)), i) for i in range(count)], GroundTruth(pids))

    query, gallery = split(300), split(2000)
    queries = choose_queries(query, gallery, 200, True)
    assert len(queries) == 50
    pids = query.truth.pids[queries][:2]
    kept = choose_gallery(gallery, pids, 200)
    wanted = set(np.flatnonzero(np.isin(gallery.truth.pids, pids)).tolist())
    assert 50 < len(wanted) < 150 and len(kept) == len(set(kept.tolist())) == 200 and wanted <= set(kept.tolist())
    others = sorted(set(kept.tolist()) - wanted)
    assert max(np.diff(others)) < 2 * 2000 / len(others), "evenly spread"
    many = choose_gallery(gallery, np.arange(10), 200)  # more matches than wanted: a few others all the same
    matches = int((gallery.truth.pids < 10).sum())
    assert matches > 200 and len(many) == matches + 50
    assert (
        choose_gallery(gallery, pids, 0).tolist() == list(range(2000)) == choose_gallery(gallery, pids, 2000).tolist()
    )


def test_queries_whose_only_match_is_of_their_own_camera_are_left_out() -> None:
    gallery = Split([Tracklet((f"g{pid}.jpg",), 0, pid) for pid in range(40)], GroundTruth(np.arange(40)))
    query = Split([Tracklet((f"q{pid}.jpg",), pid % 2, pid) for pid in range(40)], GroundTruth(np.arange(40)))
    assert set((choose_queries(query, gallery, 32, True) % 2).tolist()) == {1}
    assert set((choose_queries(query, gallery, 36, False) % 2).tolist()) == {0, 1}
