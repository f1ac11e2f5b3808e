"""Measures of one cluster, and of neighbour lists."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

_ROUNDS = 10  # of 2-means


@dataclass
class Shape:
    """What is known of a cluster of M crops.

    Attributes:
        mean: float32 (D,).
        width: sum of the members' distances to it.
        halves: float32 (M,), below 0 in the smaller half, by how much.
        shared: in [0, 1], how far both halves were seen by the same cameras; 1 where none is known.
        found: (identity, doubt) of the clusters that it may be one with, the most likely first.
        settled: a person has compared the halves.
    """

    mean: np.ndarray
    width: float
    halves: np.ndarray
    views: frozenset[int] = frozenset()
    shared: float = 1.0
    found: list[tuple[int, float]] = field(default_factory=list)
    settled: bool = False

    @classmethod
    def of(cls, rows: np.ndarray, cameras: np.ndarray | None) -> Shape:
        """Of rows float32 (M, D) and their cameras int64 (M,)."""
        mean, side = rows.mean(axis=0), halve(rows)
        width = float(distance(rows, mean[None]).sum())
        if cameras is None:
            return cls(mean, width, side)
        views = [np.bincount(cameras[part], minlength=int(cameras.max()) + 1) for part in (side < 0, side >= 0)]
        shares = [view / max(int(view.sum()), 1) for view in views]
        return cls(mean, width, side, frozenset(cameras.tolist()), float(np.minimum(*shares).sum()))


def backwards(near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Who has a row among its nearest, in CSR form: int64 (N * k,) and (N + 1,)."""
    order = np.argsort(near, axis=None, kind="stable")
    return order // max(near.shape[1], 1), np.searchsorted(near.ravel()[order], np.arange(len(near) + 1))


def best_label(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of every row (M, k): the share of its most frequent label from 0 on, float32 (M,), and that label, else -1."""
    labels = np.sort(labels, axis=1)
    most = np.zeros(len(labels), dtype=np.float32)
    best = np.full(len(labels), -1, dtype=np.int64)
    run = np.zeros(len(labels), dtype=np.float32)
    before = best
    for column in labels.T:
        run = np.where((column == before) & (column >= 0), run + 1, column >= 0)
        best = np.where(run > most, column, best)
        most, before = np.maximum(most, run), column
    return most / max(labels.shape[1], 1), best


def halve(rows: np.ndarray) -> np.ndarray:
    """float32 (M,): 2-means from the main axis; negative in the smaller half, 0 or more in the other."""
    if len(rows) < 2:
        return np.zeros(len(rows), dtype=np.float32)
    centred = rows - rows.mean(axis=0)
    axis = centred[(centred**2).sum(axis=1).argmax()]
    for _ in range(_ROUNDS):
        axis = centred.T @ (centred @ axis)
        axis /= max(float(np.linalg.norm(axis)), 1e-12)
    side = centred @ axis
    for _ in range(_ROUNDS):
        low = side < 0
        if low.all() or not low.any():
            break
        a, b = centred[low].mean(axis=0), centred[~low].mean(axis=0)
        following = centred @ (b - a) - (b @ b - a @ a) / 2
        if np.array_equal(following < 0, low):
            side = following
            break
        side = following
    low = int((side < 0).sum())
    return side if 2 * low <= len(rows) else np.where(side < 0, -side, np.minimum(-side, -1e-12))


def distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """float32 (R, C), Euclidean."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None] - 2 * one @ other.T
    return np.sqrt(np.maximum(squares, 0))
