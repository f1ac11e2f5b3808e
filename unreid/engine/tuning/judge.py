"""What labels say about a sweep, afterwards: for people who want to check the choice. Nothing here chooses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from unreid.engine.tuning.sweep import Row
from unreid.evaluation.diagnostics import cluster_report


def judged(rows: Sequence[Row], pids: np.ndarray, camids: Tensor | None) -> list[dict[str, float]]:
    """For every row pair precision, pair recall and their F1; with cameras the F1 with cross-camera recall, too."""
    found = []
    for row in rows:
        report = cluster_report(row.labels, pids, camids)
        precision, recall = report["pair_precision"], report["pair_recall"]
        entry = {"pair_precision": precision, "pair_recall": recall, "pair_f1": _f1(precision, recall)}
        if camids is not None:
            crossing = report["cross_camera_recall"]
            entry |= {"cross_camera_recall": crossing, "cross_camera_f1": _f1(precision, crossing)}
        found.append(entry)
    return found


def agreement(rows: Sequence[Row], truth: Sequence[float]) -> tuple[float, float, float]:
    """How good a choice by score is, measured by a figure that only labels give.

    Args:
        truth: of every row, larger is better.

    Returns:
        Spearman's rank correlation of the scores with it, its value at the best score, and its largest value.
    """
    from scipy.stats import spearmanr

    scores = np.array([row.score for row in rows])
    values = np.asarray(truth, dtype=float)
    constant = np.ptp(scores) == 0 or np.ptp(values) == 0
    correlation = 0.0 if constant else float(spearmanr(scores, values).statistic)
    return correlation, float(values[int(scores.argmax())]), float(values.max())


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
