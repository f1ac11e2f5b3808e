"""Configs written for AuxUSLReID keep working: same names, same defaults, old spellings with a warning."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from unreid.config import get_cfg, load_config
from unreid.config.node import find
from unreid.config.renamed import GONE, RENAMED, Moved, Only
from unreid.utils.errors import UserError

DOCUMENTED: dict[str, Any] = {
    "MODEL.LOSSES.ID_OPTION": "cross_entropy",
    "MODEL.LOSSES.ID_K": 4,
    "MODEL.LOSSES.CE.EPSILON": 0.1,
    "MODEL.LOSSES.TRI_OPTION": "triplet",
    "MODEL.LOSSES.TRI_MARGIN": 0.5,
    "MODEL.LOSSES.TRI_LAMBDA": -1.0,
    "DATALOADER.ITERS_CLUSTER_MULTIPLIER": -1.0,
    "CLUSTER.ICDBSCAN_OPTION": False,
    "CLUSTER.ICDBSCAN_CONSTRAINT_PATH": "cannotlink_pts.pickle",
    "CLUSTER.STR_OPTION": False,
    "CLUSTER.STR_LAMBDA": 0.6,
    "CLUSTER.STR_GAMMA": 8.0,
    "CLUSTER.STR_PATH": "spatio_temporal_relation_train.pickle",
    "CLUSTER.CCE_OPTION": False,
    "CLUSTER.CCE_LAMBDA": 0.006,
    "CLUSTER.CCE_PATH": "cross_camera_relation_train.pickle",
    "TEST.EVAL_ONLY": False,
    "TEST.OVERLAP_CONSTRAINT": False,
    "TEST.CONSTRAINT_PATH": "overlap_relation.pickle",
    "TEST.STR_OPTION": False,
    "TEST.STR_PATH": "spatio_temporal_relation_infer.pickle",
    "TEST.CCE_OPTION": False,
    "TEST.CCE_LAMBDA": 0.03,
    "TEST.CCE_PATH": "cross_camera_relation_infer.pickle",
    "RESUME": "",
    "PICKLE_PATH": "pickles",
    "OUTPUT_DIR": "logs/test",
}

MARS_FILE = """
MODE: usl_MTCluster_base
GPU_Device: [0, 1, 2, 3]
DATASETS: {TARGET: mars, DIR: datasets, MARS_INFO: info}
CLUSTER: {EPS: 0.6, ADAPTIVE: True, MIN_SAMPLES: 4}
MODEL:
  LOSSES: {ID_OPTION: 3, ID_K: 60, TRI_OPTION: 1, TRI_LAMBDA: -0.075}
DATALOADER: {TRAIN_BATCH_SIZE: 64, NUM_INSTANCE: 4, ITERS: 400, ITERS_CLUSTER_MULTIPLIER: 0.6, TRAIN_SEQ_LEN: 4,
             CLUSTER_BATCH_SIZE: 16, CLUSTER_SEQ_LEN: 32}
OPTIM: {SCHED: single_step, STEPS: [40], EPOCHS: 40}
INPUT:
  REA: {ENABLED: True}
CHECKPOING: {SAVE_STEP: [-2], REMAIN_CLASSIFIER: False}
"""

# Every other key of AuxUSLReID's defaults with its default value.
ALL_DEFAULTS: dict[str, Any] = {
    **DOCUMENTED,
    "MODEL.LOSSES.ID_OPTION": 1,
    "MODEL.LOSSES.TRI_OPTION": 1,
    "MODE": "USL",
    "DATASETS.NAME": "MARS",
    "DATASETS.DIR": "",
    "DATASETS.MODE": "all",
    "DATASETS.DENSE_STEP": 32,
    "DATASETS.MARS_INFO": "info",
    "DATASETS.DUKE_INFO": "info",
    "DATASETS.SOURCE": "",
    "CLUSTER.EPS": 0.6,
    "CLUSTER.ADAPTIVE": False,
    "CLUSTER.MIN_SAMPLES": 4,
    "CLUSTER.K1": 30,
    "CLUSTER.K2": 6,
    "CLUSTER.ICDBSCAN_RELAXED": 0.0,
    "MUTUAL_TEACH.CE_SOFT_WRIGHT": 0.5,
    "MUTUAL_TEACH.TRI_SOFT_WRIGHT": 0.8,
    "MUTUAL_TEACH.ALPHA": 0.999,
    "DATALOADER.TRAIN_BATCH_SIZE": 64,
    "DATALOADER.NUM_INSTANCE": 4,
    "DATALOADER.NUM_WORKERS": 4,
    "DATALOADER.ITER_MODE": True,
    "DATALOADER.ITERS": 100,
    "DATALOADER.TRAIN_SEQ_LEN": 15,
    "DATALOADER.CLUSTER_BATCH_SIZE": 64,
    "DATALOADER.CLUSTER_SEQ_LEN": 15,
    "DATALOADER.SAMPLE_CONSTRAINT": False,
    "DATALOADER.SAMPLE_CONSTRAINT_EXT_SIZE": -1,
    "DATALOADER.CLUSTER_SAMPLE_MULTI": 1,
    "OPTIM.OPT": "adam",
    "OPTIM.LR": 3.5e-4,
    "OPTIM.WEIGHT_DECAY": 5e-4,
    "OPTIM.ADAM_BETA1": 0.9,
    "OPTIM.ADAM_BETA2": 0.999,
    "OPTIM.SCHED": "warmupmultisteplr",
    "OPTIM.STEPS": [40, 70],
    "OPTIM.GAMMA": 0.1,
    "OPTIM.EPOCHS": 80,
    "OPTIM.FORWARD_BATCH_SIZE": 16,
    "OPTIM.MOMENTUM": 0.9,
    "OPTIM.SGD_DAMPENING": 0,
    "OPTIM.SGD_NESTEROV": False,
    "OPTIM.RMSPROP_ALPHA": 0.99,
    "OPTIM.WARMUP_ITERS": 10,
    "OPTIM.WARMUP_FACTOR": 0.01,
    "OPTIM.WARMUP_METHOD": "linear",
    "OPTIM.COSINE_MAX_EPOCH": 1,
    "INPUT.SIZE_TRAIN": [256, 128],
    "INPUT.SIZE_TEST": [256, 128],
    "INPUT.PIXEL_MEAN": [0.485, 0.456, 0.406],
    "INPUT.PIXEL_STD": [0.229, 0.224, 0.225],
    "INPUT.DO_FLIP": True,
    "INPUT.FLIP_PROB": 0.5,
    "INPUT.DO_PAD": True,
    "INPUT.PADDING": 10,
    "INPUT.PADDING_MODE": "constant",
    "INPUT.REA.ENABLED": False,
    "INPUT.REA.PROB": 0.5,
    "INPUT.REA.MEAN": [0.485, 0.456, 0.406],
    "INPUT.CJ.ENABLED": False,
    "INPUT.CJ.PROB": 0.8,
    "INPUT.CJ.BRIGHTNESS": 0.15,
    "INPUT.CJ.CONTRAST": 0.15,
    "INPUT.CJ.SATURATION": 0.1,
    "INPUT.CJ.HUE": 0.1,
    "TEST.RERANK.ENABLED": False,
    "TEST.RERANK.K1": 20,
    "TEST.RERANK.K2": 6,
    "TEST.RERANK.LAMBDA": 0.3,
    "TEST.PRINT_PERIOD": 200,
    "TEST.EVAL_PERIOD": 20,
    "CHECKPOING.REMAIN_CLASSIFIER": True,
    "CHECKPOING.PRETRAIN_PATH": "",
    "SEED": 1,
    "PRINT_PERIOD": 100,
    "CUDNN_BENCHMARK": True,
    "GPU_Device": [0],
    "MODEL.DEVICE": "cuda",
    "MODEL.ARCH": "resnet50bnn",
    "BACKBONE.NAME": "x",
    "HYBRIDMEMORY.TEMP": 0.05,
    "EVAL_PERIOD": 1,
    "PRETRAIN_PATH": "",
}


@pytest.mark.parametrize("key", DOCUMENTED)
def test_documented_keys_keep_their_defaults(key: str) -> None:
    value = find(get_cfg(), key)
    assert value == DOCUMENTED[key] and type(value) is type(DOCUMENTED[key])


@pytest.mark.parametrize("key", ALL_DEFAULTS)
def test_every_old_key_is_accepted(key: str) -> None:
    typed, written = get_cfg(), get_cfg()
    typed.merge_from_list([key, ALL_DEFAULTS[key]])
    written.merge_from_list([key, str(ALL_DEFAULTS[key])])
    assert typed == written, "a value means the same in a file and on the command line"


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("CHECKPOING.SAVE_STEP", "[1, 10, 20]", r"no counterpart.*set CHECKPOINT\.PERIOD"),
        ("DATASETS.TARGET", "dukemtmc", r"no counterpart.*set DATASETS\.NAMES"),
        ("MODE", "sbl", r"no counterpart.*set METHOD\.NAME"),
        ("MODEL.ARCH", "resnet18", r"no counterpart.*set MODEL\.BACKBONE\.NAME"),
        ("DATALOADER.ITER_MODE", "False", r"can only be True, got False \(command line\).*0 means one pass"),
        ("DATALOADER.SAMPLE_CONSTRAINT", "True", r"can only be False"),
        ("DATALOADER.CLUSTER_SAMPLE_MULTI", "2", r"can only be 1, got 2"),
        ("MUTUAL_TEACH.ALPHA", "2", r"MODEL\.EMA\.ALPHA must be between 0 and 1"),
        ("MUTUAL_TEACH.CE_SOFT_WRITE", "2", r"no config key MUTUAL_TEACH\.CE_SOFT_WRITE"),
    ],
)
def test_what_has_no_counterpart_says_why(key: str, value: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        load_config(None, [key, value])


def test_renames_point_at_existing_keys_and_warn(caplog: pytest.LogCaptureFixture) -> None:
    tree = get_cfg()
    for old, entry in RENAMED.items():
        assert find(tree, old) is None, f"{old} exists, so it cannot be an old spelling"
        if isinstance(entry, Moved):
            assert all(find(tree, key) is not None for key in entry.keys)
    with caplog.at_level(logging.WARNING, logger="unreid.config"):
        cfg = load_config(None, ["MUTUAL_TEACH.CE_SOFT_WRIGHT", "0.25", "GPU_Device", "[0,1]"])
    assert cfg.METHOD.AUXUSL.SOFT_ID_WEIGHT == 0.25
    assert "now called METHOD.AUXUSL.SOFT_ID_WEIGHT" in caplog.text and "GPU_Device" in caplog.text


@pytest.mark.parametrize("key", GONE)
def test_keys_of_earlier_layouts_are_read_at_the_value_that_is_left(key: str) -> None:
    entry = GONE[key]
    assert find(get_cfg(), key) is None
    if isinstance(entry, Only):
        assert load_config(None, [key, entry.value]) == load_config(None, [key, str(entry.value)]) == get_cfg()
        with pytest.raises(UserError, match=f"{key} can only be"):
            load_config(None, [key, "7"])
    else:
        assert load_config(None, [key, "7"]) == get_cfg()


def test_the_published_mars_file_loads(tmp_path: Path) -> None:
    path = tmp_path / "mars.yml"
    path.write_text(MARS_FILE)
    cfg = load_config(path)
    assert cfg.METHOD.NAME == "AuxUSL" and cfg.DATASETS.NAMES == ["MARS"] and cfg.DATASETS.ROOT == "datasets"
    assert cfg.OPTIM.SCHED == "step" and cfg.OPTIM.STEPS == [40]
    assert (cfg.CHECKPOINT.PERIOD, cfg.TEST.EVAL_PERIOD) == (2, 2)
    assert (cfg.MODEL.LOSSES.ID_OPTION, cfg.MODEL.LOSSES.TRI_OPTION) == ("ranked_label_smoothing", "triplet")
    assert cfg.DATALOADER.ITERS_CLUSTER_MULTIPLIER == 0.6 and cfg.MODEL.LOSSES.ID_K == 60
