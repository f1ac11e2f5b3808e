"""Pictures for people: ranked galleries of some queries, and members of some clusters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from unreid.data.datasets.scorable import with_match
from unreid.evaluation.distance import DistanceBlocks
from unreid.evaluation.metrics import cmc_map
from unreid.evaluation.picture import Cell, sheet
from unreid.structures import Tracklet
from unreid.utils.arrays import spread
from unreid.utils.errors import UserError
from unreid.utils.writing import atomic_write_bytes

if TYPE_CHECKING:
    from unreid.data.datasets.base import Split

SUFFIXES = (".jpg", ".png")
# Told apart by colour, by dashes and by a sign, in the colours of Okabe and Ito.
QUERY, RIGHT, WRONG, UNKNOWN = (30, 30, 30), (0, 114, 178), (213, 94, 0), (140, 140, 140)


def draw_ranked_list(
    path: str | Path,
    query: Split,
    gallery: Split,
    q_features: Tensor,
    g_features: Tensor,
    *,
    queries: int = 8,
    topk: int = 10,
    filter_same_camera: bool = True,
) -> np.ndarray:
    """Writes a picture with one row per query: the query, then its nearest gallery crops.

    A solid blue frame and a tick are the same identity, a dashed orange frame and a cross another. Captions give the
    camera (1-based, as in file names), the average precision of the query, for gallery crops the squared Euclidean
    distance, and the file's name. Queries are spread evenly over the query list, among those that have a match; gallery
    crops of the query's identity and camera are left out, as in the scores.

    Args:
        path: file to write, ``.jpg`` or ``.png``.
        query, gallery: records and identities.
        q_features, g_features: float (Q, D) and (G, D).
        filter_same_camera: as in the evaluation.

    Returns:
        The picture, uint8 (H, W, 3), RGB.

    Raises:
        UserError: no query has a match, or the file cannot be written (:class:`UnwritableError`).
        ValueError: another ending of ``path``.
    """
    path = _checked(path)
    chosen = spread(np.flatnonzero(with_match(query, gallery, filter_same_camera)), queries)
    if not len(chosen):
        raise UserError("There is nothing to draw: no query has a match in the gallery.")
    nearest, dist = nearest_gallery(query, gallery, q_features, g_features, chosen, topk, filter_same_camera)
    precision = _average_precision(query, gallery, q_features, g_features, chosen, filter_same_camera)
    rows = []
    for i, columns, values, ap in zip(chosen, nearest, dist, precision):
        record = query.tracklets[i]
        cells = [Cell(record.paths[0], QUERY, f"c{record.camid + 1} AP {100 * ap:.0f}%")]
        for j, value in zip(columns, values):
            found = gallery.tracklets[j]
            right = gallery.truth.pids[j] == query.truth.pids[i]
            caption = f"{'✓' if right else '✗'} c{found.camid + 1} {value:.2f}"
            cells.append(Cell(found.paths[0], RIGHT if right else WRONG, caption, dashed=not right))
        rows.append(cells)
    return _drawn(path, rows)


def draw_neighbours(
    path: str | Path,
    tracklets: Sequence[Tracklet],
    features: Tensor,
    *,
    rows: int = 8,
    topk: int = 10,
    cameras: bool = True,
) -> np.ndarray:
    """The ranked list of samples that nobody has labelled: some of them, each with the nearest others.

    No frame says what is right: nobody knows. Captions give the camera and the squared Euclidean distance.

    Args:
        path: file to write, ``.jpg`` or ``.png``.
        tracklets, features: N samples and their features, float (N, D).
        rows: samples shown at most, spread evenly.

    Returns:
        The picture, uint8 (H, W, 3), RGB.
    """
    path = _checked(path)
    if len(tracklets) < 2:
        raise UserError("There is nothing to draw: there are fewer than two samples.")
    chosen = spread(np.arange(len(tracklets)), rows)
    index = torch.from_numpy(chosen).to(features.device)
    dist = DistanceBlocks(features[index], features)(slice(0, len(index)))
    dist[torch.arange(len(index)), index] = torch.inf
    values, columns = (part.cpu() for part in dist.sort(dim=1, stable=True))
    lines = []
    for i, line, near in zip(chosen.tolist(), values, columns):
        own = tracklets[i]
        cells = [Cell(own.paths[0], QUERY, f"c{own.camid + 1}" if cameras else "")]
        for j, value in list(zip(near.tolist(), line.tolist()))[: min(topk, len(tracklets) - 1)]:
            camera = f"c{tracklets[j].camid + 1} " if cameras else ""
            cells.append(Cell(tracklets[j].paths[0], UNKNOWN, f"{camera}{value:.2f}"))
        lines.append(cells)
    return _drawn(path, lines)


def _average_precision(
    query: Split, gallery: Split, q_features: Tensor, g_features: Tensor, rows: np.ndarray, filter_same_camera: bool
) -> np.ndarray:
    """float64, of some queries."""
    index = torch.from_numpy(np.asarray(rows))
    return cmc_map(
        DistanceBlocks(q_features[index.to(q_features.device)], g_features),
        query.truth.pids[rows],
        gallery.truth.pids,
        query.camids[rows],
        gallery.camids,
        filter_same_camera=filter_same_camera,
    ).ap


def nearest_gallery(
    query: Split,
    gallery: Split,
    q_features: Tensor,
    g_features: Tensor,
    rows: Sequence[int] | np.ndarray,
    topk: int,
    filter_same_camera: bool = True,
) -> tuple[list[list[int]], list[list[float]]]:
    """Gallery positions and squared distances of the ``topk`` nearest of some queries, ties by position."""
    index = torch.as_tensor(np.asarray(rows))
    dist = DistanceBlocks(q_features[index.to(q_features.device)], g_features)(slice(0, len(index))).cpu()
    if filter_same_camera:
        q_pids, g_pids = query.truth.pids[index.numpy()], gallery.truth.pids
        q_cams, g_cams = query.camids[index.numpy()], gallery.camids
        dist[torch.from_numpy((q_pids[:, None] == g_pids) & (q_cams[:, None] == g_cams))] = torch.inf
    values, columns = dist.sort(dim=1, stable=True)
    kept = [int(count) for count in torch.isfinite(values).sum(1).clamp(max=topk)]
    return (
        [row[:count].tolist() for row, count in zip(columns, kept)],
        [row[:count].tolist() for row, count in zip(values, kept)],
    )


def cluster_sheet(paths: Sequence[str], labels: Tensor | np.ndarray, clusters: int, *, members: int = 8) -> np.ndarray:
    """A picture of some clusters, one row each, with up to ``members`` of its crops.

    The clusters are spread evenly from the largest to the smallest, the members over the cluster.

    Args:
        labels: integers (N,), -1 for outliers.

    Returns:
        uint8 (H, W, 3), RGB; a blank one if there is no cluster.
    """
    labels = np.asarray(labels)
    names, sizes = np.unique(labels[labels >= 0], return_counts=True)
    by_size = names[np.argsort(-sizes, kind="stable")]
    rows = []
    for name in spread(by_size, clusters):
        all_members = np.flatnonzero(labels == name)
        shown = spread(all_members, members)
        captions = [f"#{name}: {len(all_members)}"] + [""] * (len(shown) - 1)
        rows.append([Cell(paths[i], UNKNOWN, caption) for i, caption in zip(shown, captions)])
    return sheet(rows)


def _drawn(path: Path, rows: Sequence[Sequence[Cell]]) -> np.ndarray:
    import cv2

    picture = sheet(rows)
    _, data = cv2.imencode(path.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    atomic_write_bytes(path, data.tobytes())
    return picture


def _checked(path: str | Path) -> Path:
    if Path(path).suffix not in SUFFIXES:
        raise ValueError(f"a picture ends with {', '.join(SUFFIXES)}, unlike {path}")
    return Path(path)
