"""Runs of about a second, of every kind of method, and whether two of them came to the same end."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.engine.conftest import CONFIGS, SHORT_RUN, SMALL_WORLD
from unreid.utils.writing import _UNFINISHED

SHORT = [
    *SMALL_WORLD,
    *SHORT_RUN,
    *("DATASETS.SYNTHETIC.HEIGHT", "32", "DATASETS.SYNTHETIC.WIDTH", "16"),
    *("INPUT.SIZE_TRAIN", "[64, 32]", "INPUT.SIZE_TEST", "[64, 32]"),
    *("MODEL.BACKBONE.WIDTH", "8"),
    *("DATALOADER.ITERS", "3"),
    *("OPTIM.EPOCHS", "3"),
    *("WARMUP.EPOCHS", "0"),
    *("MODEL.RECALIBRATE_BN", "0"),
    *("TEST.EVAL_PERIOD", "1"),
    *("PRINT_PERIOD", "1"),
    *("LOG.PROGRESS", "False"),
]
ROUNDS = ("CLUSTER.NUM_CLUSTERS", "10", "CLUSTER.WARMUP.ROUNDS", "1")
METHODS: dict[str, tuple[str, ...]] = {
    "ClusterContrast_synthetic": ("TEST.SELECT", "best_test"),
    "CDSM_synthetic": ("MODEL.DROPOUT", "0.5"),
    "SpCL_synthetic": (),
    "BUC_synthetic": (
        *("METHOD.BUC.MERGE_PERCENT", "0.25", "METHOD.BUC.ROUNDS", "3"),
        *("METHOD.BUC.EPOCHS_FIRST", "1", "METHOD.BUC.EPOCHS_LATER", "1"),
    ),
    "ISE_synthetic": ("WARMUP.EPOCHS", "1"),
    "CCC_HDC_synthetic": ROUNDS,
    "AuxUSL_synthetic_video": (
        *("DATASETS.SYNTHETIC_VIDEO.TRAIN_IDS", "8", "DATASETS.SYNTHETIC_VIDEO.TEST_IDS", "4"),
        *("DATASETS.SYNTHETIC_VIDEO.CAMERAS", "2", "DATASETS.SYNTHETIC_VIDEO.FRAMES", "[4, 6]"),
        *("DATASETS.SYNTHETIC_VIDEO.HEIGHT", "32", "DATASETS.SYNTHETIC_VIDEO.WIDTH", "16"),
        *("DATALOADER.TRAIN_SEQ_LEN", "2", "MODEL.LOSSES.ID_K", "3"),
    ),
}


def arguments(method: str, datasets: Path, output: Path, *overrides: str) -> list[str]:
    """Of ``tools/main.py``."""
    places = ("DATASETS.ROOT", str(datasets), "OUTPUT_DIR", str(output))
    return ["--config-file", str(CONFIGS / f"{method}.yml"), *SHORT, *METHODS[method], *places, *overrides]


def differences(expected: Path, found: Path) -> list[str]:
    """In what the results of two finished runs differ, bit for bit; times do not count. Unfinished files do."""
    problems = [f"left behind: {path.name}" for path in found.iterdir() if _UNFINISHED.fullmatch(path.name)]
    for name, read in _READERS.items():
        both = [folder / name for folder in (expected, found)]
        present = [path.is_file() for path in both]
        if present == [True, True]:
            first, second = map(read, both)
            where = _difference(first, second)
            problems += [f"{name} differs at {where}"] if where else []
        elif any(present):
            problems.append(f"{name} is there once only")
    return problems


def _difference(first: Any, second: Any, where: str = ".") -> str:
    """The first place where nested values differ, or ""."""
    if isinstance(first, dict) and isinstance(second, dict):
        if list(first) != list(second):
            return f"{where} (keys)"
        return next(filter(None, (_difference(first[key], second[key], f"{where}{key}.") for key in first)), "")
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        if len(first) != len(second):
            return f"{where} (length {len(first)}, {len(second)})"
        pairs = enumerate(zip(first, second))
        return next(filter(None, (_difference(a, b, f"{where}{number}.") for number, (a, b) in pairs)), "")
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        same = first.dtype == second.dtype and first.shape == second.shape
        return (
            "" if same and torch.equal(first.flatten().view(torch.uint8), second.flatten().view(torch.uint8)) else where
        )
    return "" if first == second or (first != first and second != second) else f"{where} ({first!r}, {second!r})"


def _checkpoint(path: Path) -> Any:
    content = torch.load(path, map_location="cpu", weights_only=True)
    return {key: content[key] for key in ("model", "results", "trainer") if key in content}


def _metrics(path: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    slow = ("time", "phase/")
    rows = [{key: value for key, value in sorted(row.items()) if not key.startswith(slow)} for row in rows]
    return [row for row in rows if len(row) > 1]


def _results(path: Path) -> Any:
    return {key: value for key, value in json.loads(path.read_text()).items() if key != "checkpoint"}


def _labels(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name].tolist() for name in file.files}


_READERS: dict[str, Any] = {
    "checkpoint.pth": _checkpoint,
    "model_best.pth": _checkpoint,
    "metrics.jsonl": _metrics,
    "results.json": _results,
    "rounds.csv": lambda path: list(csv.DictReader(path.read_text().splitlines())),
    "pseudo_labels.npz": _labels,
}
