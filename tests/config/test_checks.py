"""Settings that contradict each other although each is allowed; every one of these pairs once ended a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from unreid.config import load_config
from unreid.utils.errors import UserError


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        (
            "DATALOADER.TRAIN_BATCH_SIZE 1 DATALOADER.NUM_INSTANCE 1",
            r"TRAIN_BATCH_SIZE \(1\) over .* 2 samples or more",
        ),
        ("DATALOADER.TRAIN_BATCH_SIZE 16 MODEL.BN_CHUNKS 16", r"TRAIN_BATCH_SIZE \(16\) over MODEL.BN_CHUNKS \(16\)"),
        ("OPTIM.SUB_BATCH 1", r"OPTIM.SUB_BATCH \(1\) over"),
        ("OPTIM.SUB_BATCH 2 MODEL.BN_CHUNKS 4", r"OPTIM.SUB_BATCH \(2\) must be a multiple of MODEL.BN_CHUNKS \(4\)"),
        ("WARMUP.EPOCHS 1 WARMUP.BATCH_SIZE 3 MODEL.BN_CHUNKS 4", r"2 \* WARMUP.BATCH_SIZE \(6\) must be a multiple"),
        ("INPUT.PADDING_MODE reflect INPUT.PADDING 128", r"INPUT.PADDING \(128\) must be below both sides"),
        ("DATASETS.SYNTHETIC_VIDEO.FRAMES 5,4", r"FRAMES \(\[5, 4\]\) must name the fewest"),
        ("MODEL.STANDARDIZE True INPUT.SIZE_TEST 1,1", r"INPUT.SIZE_TEST \(\[1, 1\]\) must have more than one pixel"),
        (
            "INPUT.SIZE_TRAIN 4096,4096 DATALOADER.TRAIN_BATCH_SIZE 65536",
            r"TRAIN_BATCH_SIZE \(65536\) images of INPUT.SIZE_TRAIN \(\[4096, 4096\]\) take 12288 GiB alone",
        ),
        ("INPUT.SIZE_TEST 4096,4096 DATALOADER.TEST_BATCH_SIZE 65536", r"TEST_BATCH_SIZE .*SIZE_TEST"),
    ],
)
def test_contradictions(pairs: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        load_config(None, pairs.split())


@pytest.mark.parametrize(
    "pairs",
    [
        "DATALOADER.TRAIN_BATCH_SIZE 16 MODEL.BN_CHUNKS 8",
        "OPTIM.SUB_BATCH 8 MODEL.BN_CHUNKS 4",
        "WARMUP.EPOCHS 0 WARMUP.BATCH_SIZE 3 MODEL.BN_CHUNKS 4",
        "INPUT.PADDING_MODE reflect INPUT.PADDING 127",
        "INPUT.PADDING_MODE reflect INPUT.PADDING 500 INPUT.DO_PAD False",
        "INPUT.SIZE_TEST 1,1",
    ],
)
def test_what_agrees(pairs: str) -> None:
    load_config(None, pairs.split())


def test_milestones_grow_and_do_not_repeat() -> None:
    with pytest.raises(UserError, match="must grow"):
        load_config(None, ["OPTIM.SCHED", "multistep", "OPTIM.STEPS", "[20, 20]"])
    load_config(None, ["OPTIM.SCHED", "multistep", "OPTIM.STEPS", "[20, 21]"])


def test_the_tight_radius_stays_above_zero() -> None:
    pairs = ["CLUSTER.NAME", "SelfPacedDBSCAN", "CLUSTER.EPS", "0.5", "CLUSTER.EPS_GAP"]
    load_config(None, [*pairs, "0.49"])
    for gap in ("0.5", "0.51"):
        with pytest.raises(UserError, match=r"EPS_GAP \(0.5\d?\) must be below CLUSTER.EPS \(0.5\)"):
            load_config(None, [*pairs, gap])


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        ("CLUSTER.NAME agreement_dbscan CLUSTER.EPS 0.1 CLUSTER.EPS_GAP 0.2", "EPS_GAP"),
        ("CLUSTER.NAME h-d-c CLUSTER.METRIC cosine", "HDC reads Jaccard"),
        ("OPTIM.SCHED multi-step OPTIM.STEPS 20,10", "must grow"),
        ("CLUSTER.METRIC ca-Jaccard CLUSTER.EPS 1.5", "must be below 1"),
    ],
)
def test_a_name_is_known_in_every_spelling_that_finds_it(pairs: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        load_config(None, pairs.split())


def test_a_batch_that_is_shuffled_needs_no_groups() -> None:
    cfg = load_config(None, ["DATALOADER.SAMPLER.NAME", "Shuffle", "DATALOADER.TRAIN_BATCH_SIZE", "30"])
    assert cfg.DATALOADER.TRAIN_BATCH_SIZE % cfg.DATALOADER.NUM_INSTANCE


def test_a_tilde_is_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "own.yml"
    file.write_text("OUTPUT_DIR: ~/logs\nDATASETS:\n  ROOT: ~/data\n")
    cfg = load_config(file, ["RESUME=~/a.pth"])
    assert tuple(f"{tmp_path}/{p}" for p in ("logs", "data", "a.pth")) == (
        cfg.OUTPUT_DIR,
        cfg.DATASETS.ROOT,
        cfg.RESUME,
    )
