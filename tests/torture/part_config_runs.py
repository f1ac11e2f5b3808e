"""Configs that are accepted are also run: short trainings of the shipped methods with random values of every key.

Runs take turns in one worker process, so that a crash or a hang ends a trial and not the harness.
"""

from __future__ import annotations

import multiprocessing
import random
import re
import shutil
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.torture.tally import Tally
from unreid.config import get_cfg, load_config
from unreid.config.conditions import SWITCH, TEXT
from unreid.config.keys import KEYS
from unreid.config.node import leaves
from unreid.utils.errors import DivergedError, IncompleteRunError, UserError

TITLE = "accepted configs, each with one to four keys set at random, run for two epochs of two steps"
EXPECTED = "the run finishes, or ends with one sentence: a user's mistake or a diverged loss"
COUNT = 300
SLICE = 4
SECONDS = 60

RULES = {key: entry.rule for key, entry in KEYS.items() if entry.rule not in (SWITCH, TEXT)}
CONFIGS = Path(__file__).parents[2] / "configs"
FILES = [
    *("AuxUSL_synthetic_video", "BUC_synthetic", "BUC_synthetic_video", "CCC_DBSCAN_synthetic", "CCC_HDC_synthetic"),
    *("CCC_KMeans_synthetic", "CDSM_synthetic", "ClusterContrast_synthetic", "ISE_synthetic", "SpCL_synthetic"),
    *("SpCL_UDA_synthetic", "transfer_synthetic", "CAJaccard_synthetic", "CAP_synthetic", "O2CAP_synthetic"),
    "PPLR_synthetic",
]
SMALL: dict[str, Any] = {
    "DATASETS.SYNTHETIC.TRAIN_IDS": 8,
    "DATASETS.SYNTHETIC.TEST_IDS": 3,
    "DATASETS.SYNTHETIC.CAMERAS": 3,
    "DATASETS.SYNTHETIC.IMAGES_PER_CAMERA": 2,
    "DATASETS.SYNTHETIC.HEIGHT": 32,
    "DATASETS.SYNTHETIC.WIDTH": 16,
    "DATASETS.SYNTHETIC_VIDEO.TRAIN_IDS": 6,
    "DATASETS.SYNTHETIC_VIDEO.TEST_IDS": 3,
    "DATASETS.SYNTHETIC_VIDEO.CAMERAS": 3,
    "DATASETS.SYNTHETIC_VIDEO.FRAMES": [3, 5],
    "DATASETS.SYNTHETIC_VIDEO.HEIGHT": 32,
    "DATASETS.SYNTHETIC_VIDEO.WIDTH": 16,
    "DATALOADER.ITERS": 2,
    "DATALOADER.TRAIN_BATCH_SIZE": 8,
    "DATALOADER.NUM_INSTANCE": 2,
    "DATALOADER.TEST_BATCH_SIZE": 16,
    "DATALOADER.TRAIN_SEQ_LEN": 2,
    "INPUT.SIZE_TRAIN": [32, 16],
    "INPUT.SIZE_TEST": [32, 16],
    "INPUT.PADDING": 2,
    "MODEL.DEVICE": "cpu",
    "MODEL.BACKBONE.WIDTH": 4,
    "MODEL.POOLING.STRIPES": 2,
    "MODEL.RECALIBRATE_BN": 1,
    "METHOD.BUC.ROUNDS": 2,
    "METHOD.BUC.EPOCHS_FIRST": 1,
    "METHOD.BUC.EPOCHS_LATER": 1,
    "OPTIM.EPOCHS": 2,
    "WARMUP.EPOCHS": 0,
    "WARMUP.ITERS": 1,
    "WARMUP.BATCH_SIZE": 4,
    "CLUSTER.K1": 6,
    "CLUSTER.K2": 2,
    "CLUSTER.EPS": 0.7,
    "CLUSTER.MIN_SAMPLES": 2,
    "CLUSTER.MAX_EMPTY_ROUNDS": 1,
    "CLUSTER.NUM_CLUSTERS": 6,
    "CLUSTER.WARMUP.ROUNDS": 0,
    "TEST.EVAL_PERIOD": 0,
    "TEST.EVAL_START": False,
    "TEST.RERANK.K1": 4,
    "TEST.RERANK.K2": 2,
    "LOG.TENSORBOARD": False,
    "LOG.CLUSTER_IMAGES": 0,
    "LOG.PROGRESS": False,
}
# Keys that decide where a run reads and writes, or that would only make it long; other parts of the harness try them.
LEFT_ALONE = {"OUTPUT_DIR", "DATASETS.ROOT", "DATASETS.NAMES", "MODEL.DEVICE", "OPTIM.COMPILE", "RESUME", "VERSION"}
DURATIONS = re.compile(
    r"EPOCHS|ITERS$|ROUNDS$|_IDS$|IMAGES_PER_CAMERA|DISTRACTORS|CAMERAS$|RECALIBRATE|FRAMES$|HEIGHT|WIDTH"
)
SIZES = re.compile(r"SIZE|BATCH|SEQ_LEN|EMBED_DIM|STRIPES|PADDING$|NUM_WORKERS|IMAGES$|RANKED_LIST|NUM_INSTANCE|TOPK")
INTEGERS = [0, 1, 2, 3, 4, 5, 7, 8, 12, 16, 17, 31, 64, 100, 1000, 65536, 10**5, 10**6, 10**7, 10**9]
REALS = [0, 1e-320, 1e-300, 1e-30, 1e-6, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.999, 1, 1.5, 2, 10, 100, 1e3, 1e4, 1e6]
NAMES: dict[str, list[str]] = {
    "METHOD.NAME": [
        *(
            "AuxUSL",
            "BUC",
            "CCC",
            "CDSM",
            "ClusterContrast",
            "ISE",
            "SpCL",
            "SpCL_UDA",
            "CAP",
            "O2CAP",
            "PPLR",
            "nothing",
        ),
    ],
    "MEMORY.NAME": ["ClusterMemory", "DiversityMemory", "HybridMemory", "ExclusiveTable", "ProxyMemory", "nothing"],
    "MEMORY.UPDATE": [
        *("all", "hard", "camera", "hard_camera", "tccl", "chd"),
        *("cm", "cm_hard", "cm_hybrid", "v2", "v3", "v4", "v5", "nothing"),
    ],
    "DATASETS.FOLDER.CAMERA_REGEX": ["", r"c(\d)"],
    "DATASETS.FOLDER.PID_REGEX": ["", r"(\d+)_"],
    "CLUSTER.NAME": [
        *("DBSCAN", "AgreementDBSCAN", "SelfPacedDBSCAN", "ConstrainedDBSCAN", "HDC", "KMeans", "Infomap"),
        "PerCameraDBSCAN",
        *("sklearn/HDBSCAN", "sklearn/OPTICS", "sklearn/Birch", "nothing"),
    ],
    "CLUSTER.METRIC": ["jaccard", "ca_jaccard", "euclidean", "cosine", "nothing"],
    "CLUSTER.KNN.BACKEND": ["torch", "torch_bf16", "faiss_flat", "faiss_ivf", "faiss_hnsw", "nothing"],
    "CLUSTER.REVIEW": ["nothing"],
    "CLUSTER.SKLEARN.ARGUMENTS": ["min_cluster_size=2", "min_samples=2", "nothing"],
    "HOOKS": ["RankedListHook", "nothing"],
    "LOG.WRITERS": ["MLflow", "nothing"],
    "INPUT.TRANSFORM": ["strong", "nothing"],
    "OPTIM.OPT": ["adam", "adamw", "sgd", "nothing"],
    "OPTIM.SCHED": ["step", "multistep", "cosine", "constant", "nothing"],
    "CLUSTER.WARMUP.NAME": ["", "DBSCAN", "HDC", "KMeans", "nothing"],
    "DATALOADER.SAMPLER.NAME": ["multi_camera", "identity", "shuffle", "no_camera", "proxy", "nothing"],
    "MODEL.POOLING.NAME": ["avg", "max", "gem", "avg+max", "nothing"],
    "MODEL.BACKBONE.NAME": [
        *("resnet_tiny", "resnet18", "osnet_x0_25", "osnet_ain_x1_0", "vit_small", "nothing"),
        *("timm/test_resnet", "timm/test_vit", "timm/test_convnext", "timm/test_efficientnet", "timm/nothing"),
    ],
    "DATASETS.SOURCES": ["SyntheticSource", "Synthetic", "nothing"],
    "DATASETS.TESTS": ["Synthetic", "SyntheticVideo", "nothing", "Market1501"],
    "METHOD.LOSSES": ["triplet", "watl=0.5", "cross_entropy", "nothing"],
    "MODEL.LOSSES.ID_OPTION": ["cross_entropy", "label_smoothing", "ranked_label_smoothing", "nothing"],
    "MODEL.LOSSES.TRI_OPTION": ["triplet", "watl", "nothing"],
    "METHOD.CDSM.TEACHER_VIEW": ["strong", "base", "nothing"],
    "METHOD.EXTRAS": ["support_samples", "camera_entropy", "cie", "nothing"],
    "PLUGINS": ["nothing.py", "json"],
    "TEST.SELECT": ["last", "best_test", "label_free", "round:1", "round:9"],
}
# Tried before anything random: values at their bounds, and the pairs that once ended in a traceback.
CORNERS = [
    ("ClusterContrast_synthetic", "INPUT.SIZE_TRAIN 64,64 DATALOADER.TRAIN_BATCH_SIZE 32"),
    ("ClusterContrast_synthetic", "DATALOADER.TRAIN_BATCH_SIZE 1 DATALOADER.NUM_INSTANCE 1"),
    ("AuxUSL_synthetic_video", "DATALOADER.TRAIN_BATCH_SIZE 4 DATALOADER.TRAIN_SEQ_LEN 1 OPTIM.SUB_BATCH 2"),
    ("BUC_synthetic", "METHOD.BUC.MERGE_PERCENT 0.99"),
    ("ClusterContrast_synthetic", "WARMUP.EPOCHS 1 WARMUP.BATCH_SIZE 2 MODEL.BN_CHUNKS 2"),
    ("ClusterContrast_synthetic", "WARMUP.EPOCHS 1 WARMUP.BATCH_SIZE 65536"),
    (
        "CCC_DBSCAN_synthetic",
        "INPUT.SIZE_TRAIN 1,1 INPUT.SIZE_TEST 1,1 MODEL.STANDARDIZE False MODEL.POOLING.STRIPES 1",
    ),
    ("ClusterContrast_synthetic", "MODEL.POOLING.STRIPES 64"),
    ("ClusterContrast_synthetic", "CLUSTER.K1 100000 CLUSTER.K2 100000"),
    ("CCC_HDC_synthetic", "CLUSTER.NUM_CLUSTERS 10000000"),
    ("AuxUSL_synthetic_video", "MODEL.LOSSES.ID_OPTION 3 MODEL.LOSSES.ID_K 100000"),
    ("ISE_synthetic", "METHOD.ISE.TOPK 1000 METHOD.ISE.CLAMP_TOPK True"),
    ("CDSM_synthetic", "MEMORY.SLOTS 1000"),
    ("BUC_synthetic", "METHOD.BUC.MERGE.POOL_FACTOR 1000 METHOD.BUC.MERGE.BLOCK 65536 METHOD.BUC.MERGE_PERCENT 1e-6"),
    ("ClusterContrast_synthetic", "DATALOADER.CACHE ram DATALOADER.CACHE_MB 1000000000 MEMORY.NEGATIVES 1000000000"),
    ("ClusterContrast_synthetic", "OPTIM.LR 1000 OPTIM.WEIGHT_DECAY 1000 MEMORY.TEMP 1e-4"),
    ("ClusterContrast_synthetic", "CLUSTER.EPS 1e-320 CLUSTER.MIN_SAMPLES 1000000000"),
    ("AuxUSL_synthetic_video", "MODEL.LOSSES.TRI_OPTION 2 MODEL.LOSSES.TRI_LAMBDA -100 MODEL.LOSSES.TRI_MARGIN 1e4"),
    ("ClusterContrast_synthetic", "INPUT.PIXEL_STD 0.001,0.001,0.001 INPUT.CHANNEL_JITTER 10 MODEL.STANDARDIZE False"),
    ("ClusterContrast_synthetic", "PRINT_PERIOD 1000000000 CHECKPOINT.PERIOD 1000000000 CHECKPOINT.KEEP 1000000000"),
    ("AuxUSL_synthetic_video", "DATASETS.DENSE_STEP 100000 DATALOADER.MAX_FRAMES 1000000 SEED 4294967295"),
    ("ClusterContrast_synthetic", "OPTIM.SCHED step OPTIM.STEPS 1 OPTIM.GAMMA 1000 OPTIM.WARMUP_EPOCHS 1000000"),
    ("ClusterContrast_synthetic", "DATASETS.SYNTHETIC.TRAIN_IDS 1 DATASETS.SYNTHETIC.CAMERAS 1"),
    ("AuxUSL_synthetic_video", "DATASETS.SYNTHETIC_VIDEO.FRAMES 1,1 DATALOADER.TRAIN_SEQ_LEN 64"),
]
# What must be switched on for a key to matter: the config files, and further settings.
WHERE_IT_MATTERS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "METHOD.ISE": (["ISE_synthetic"], {}),
    "METHOD.BUC": (["BUC_synthetic", "BUC_synthetic_video"], {}),
    "METHOD.CDSM": (["CDSM_synthetic"], {}),
    "METHOD.CCC": (["CCC_DBSCAN_synthetic"], {}),
    "METHOD.SPCL": (["SpCL_synthetic"], {}),
    "METHOD.PPLR": (["PPLR_synthetic"], {}),
    "MEMORY.PROXY": (["CAP_synthetic", "O2CAP_synthetic"], {}),
    "MODEL.PARTS": (["PPLR_synthetic"], {}),
    "MODEL.BACKBONE": (FILES, {"MODEL.BACKBONE.PRETRAIN": False, "MODEL.BACKBONE.LAST_STRIDE": 0}),
    "MODEL.DOMAIN_BN": (["SpCL_UDA_synthetic"], {}),
    "CLUSTER.CAMERA_LINKS": (["O2CAP_synthetic"], {"CLUSTER.NAME": "PerCameraDBSCAN"}),
    "METHOD.AUXUSL": (["AuxUSL_synthetic_video"], {}),
    "MODEL.LOSSES": (["AuxUSL_synthetic_video"], {}),
    "MODEL.EMA": (["AuxUSL_synthetic_video", "CDSM_synthetic"], {}),
    "MODEL.DROPOUT": (FILES, {"MODEL.EMBED_DIM": 8}),
    "CLUSTER.HDC": (["CCC_HDC_synthetic"], {}),
    "CLUSTER.NUM_CLUSTERS": (["CCC_HDC_synthetic", "CCC_KMeans_synthetic"], {}),
    "CLUSTER.RHO": (["AuxUSL_synthetic_video"], {"CLUSTER.ADAPTIVE": True}),
    "CLUSTER.WARMUP": (FILES, {"CLUSTER.WARMUP.NAME": "KMeans", "CLUSTER.WARMUP.ROUNDS": 1}),
    "MEMORY.SLOTS": (["CDSM_synthetic"], {}),
    "MEMORY.HARD_WEIGHT": (["CDSM_synthetic"], {}),
    "WARMUP": (FILES, {"WARMUP.EPOCHS": 1}),
    "DATASETS.SYNTHETIC_VIDEO": (["AuxUSL_synthetic_video", "BUC_synthetic_video"], {}),
    "INPUT.CJ": (FILES, {"INPUT.CJ.ENABLED": True, "INPUT.CJ.PROB": 1.0}),
    "INPUT.PADDING": (FILES, {"INPUT.DO_PAD": True}),
    "TEST.RERANK": (FILES, {"TEST.RERANK.ENABLED": True}),
    "TEST.CCE": (["AuxUSL_synthetic_video"], {"TEST.CCE_OPTION": True, "TEST.CCE_PATH": ""}),
    "CLUSTER.CCE": (["AuxUSL_synthetic_video"], {"CLUSTER.CCE_OPTION": True, "CLUSTER.CCE_PATH": ""}),
    "OPTIM.STEPS": (FILES, {"OPTIM.SCHED": "multistep"}),
    "OPTIM.GAMMA": (FILES, {"OPTIM.SCHED": "multistep", "OPTIM.STEPS": [1]}),
    "OPTIM.WARMUP": (FILES, {"OPTIM.WARMUP_EPOCHS": 1}),
    "OPTIM.MOMENTUM": (FILES, {"OPTIM.OPT": "sgd"}),
    "MODEL.BACKBONE.WIDTH": (FILES, {"INPUT.SIZE_TRAIN": [64, 64]}),
}


def run(count: int, seed: int, folder: Path) -> Tally:
    """Trials in one worker, or in this process where they are few."""
    tally = Tally()
    worker = _Worker() if count > SLICE else None
    for trial in range(count):
        rng = random.Random(f"{seed}/{trial}")
        file, overrides = _corner(trial) if trial < min(len(CORNERS), count // 4 + 1) else _accepted(rng)
        name = f"seed {seed}, trial {trial}, {file}: {' '.join(map(str, overrides))}"
        places = ["DATASETS.ROOT", str(folder / "data"), "OUTPUT_DIR", str(folder / "run")]
        arguments = (file, [*_pairs(SMALL), *overrides, *places])
        outcome = worker.run(arguments) if worker else _outcome(*arguments)
        shutil.rmtree(folder / "run", ignore_errors=True)
        if outcome in ("finished", "refused", "diverged"):
            tally.passed(outcome)
        else:
            tally.failed(f"{name}: {outcome}")
    if worker:
        worker.stop()
    return tally


def _corner(trial: int) -> tuple[str, list[Any]]:
    file, words = CORNERS[trial]
    return file, list(words.split())


def _accepted(rng: random.Random) -> tuple[str, list[Any]]:
    """A shipped config and a few values for it that ``load_config`` accepts."""
    while True:
        keys = rng.sample(sorted(VALUES), rng.choice([1, 1, 2, 3, 4]))
        found = [entry for prefix, entry in WHERE_IT_MATTERS.items() if keys[0].startswith(prefix)]
        files, switches = found[-1] if found else (FILES, {})
        file = rng.choice(files)
        overrides = _pairs({**switches, **{key: rng.choice(VALUES[key]) for key in keys}})
        try:
            load_config(CONFIGS / f"{file}.yml", [*_pairs(SMALL), *overrides])
        except UserError:
            continue
        return file, overrides


def _candidates(key: str, default: Any) -> list[Any]:
    """Values of the key that its rule accepts."""
    if key in NAMES:
        return [[value] for value in NAMES[key]] if isinstance(default, list) else list(NAMES[key])
    if isinstance(default, bool):
        return [True, False]
    if isinstance(default, str):
        return re.findall(r"'([^']*)'", RULES[key].allowed) if key in RULES else ["", "nothing", "."]
    if isinstance(default, list):
        one = [1, 2, 8, 15, 64] if isinstance(default[0], int) else [0.0, 0.001, 0.5, 1.0, 100.0]
        lists = [[a] + [b] * (len(default) - 1) for a in one for b in one]
        return [value for value in lists if RULES[key].accepts(value)]
    pool: list[Any] = INTEGERS if isinstance(default, int) else [x * sign for x in REALS for sign in (1.0, -1.0)]
    if DURATIONS.search(key):
        pool = [value for value in pool if value <= 5] + ([16, 32] if re.search("HEIGHT|WIDTH", key) else [])
    elif SIZES.search(key):
        pool = [value for value in pool if value <= (2 if key.endswith("WORKERS") else 64)]
    return [value for value in pool if RULES[key].accepts(value)]


def _pairs(settings: dict[str, Any]) -> list[Any]:
    return [word for pair in settings.items() for word in pair]


VALUES = {key: _candidates(key, default) for key, default in leaves(get_cfg()) if key not in LEFT_ALONE}


def _outcome(file: str, overrides: list[Any]) -> str:
    """How the run ended, in a word, or the last lines of its traceback."""
    from unreid.engine.cli import run_config

    try:
        run_config(load_config(CONFIGS / f"{file}.yml", overrides))
    except (UserError, DivergedError) as error:
        ended = "refused" if isinstance(error, UserError) else "diverged"
        return ended if "\n" not in str(error) else f"no sentence: {error}"
    except Exception as error:
        if isinstance(error, IncompleteRunError) and error.__cause__ is not None:
            error = error.__cause__
        place = traceback.extract_tb(error.__traceback__)
        ours = [
            frame for frame in place if "unreid" in frame.filename.split("/") and "site-packages" not in frame.filename
        ]
        frame = (ours or place)[-1]
        return f"{type(error).__name__}: {str(error)[:200]!r} at {Path(frame.filename).name}:{frame.lineno}"
    return "finished"


class _Worker:
    """A process that runs configs one after another; a new one takes its place when it dies."""

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("spawn")
        self._start()

    def run(self, arguments: tuple[str, list[Any]]) -> str:
        """The outcome of one run."""
        self.pipe.send(arguments)
        try:
            if self.pipe.poll(SECONDS):
                return str(self.pipe.recv())
            ended = f"no end within {SECONDS} s"
        except EOFError:
            self.process.join()
            ended = f"the process died with {self.process.exitcode}"
        self.stop()
        self._start()
        return ended

    def stop(self) -> None:
        """Ends the process."""
        self.pipe.close()
        self.process.kill()
        self.process.join()

    def _start(self) -> None:
        self.pipe, theirs = self.context.Pipe()
        self.process = self.context.Process(target=_serve, args=(theirs,), daemon=False)
        self.process.start()
        theirs.close()
        self.pipe.recv()  # everything is imported


def _serve(pipe: Connection) -> None:
    import logging
    import os

    import torch

    import unreid.engine.run  # noqa: F401

    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    pipe.send("ready")
    while True:
        try:
            arguments = pipe.recv()
        except EOFError:
            return
        pipe.send(_outcome(*arguments))
