"""Pictures for people: ranked galleries of some queries, and members of some clusters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from unreid.evaluation.distance import DistanceBlocks
from unreid.utils.errors import UserError
from unreid.utils.writing import atomic_write_bytes

if TYPE_CHECKING:
    from unreid.data.datasets.base import Split

CROP = (128, 64)
"""Height and width of a drawn crop, in pixels."""
SUFFIXES = (".jpg", ".png")
BORDER, GAP, CAPTION = 3, 6, 16
GREEN, RED, BLUE, INK, PAPER = (40, 160, 60), (205, 45, 45), (50, 90, 190), (30, 30, 30), (255, 255, 255)


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

    A green border is the same identity, a red one another. Captions give the camera (1-based, as in file names) and
    for gallery crops the squared Euclidean distance. Queries are spread evenly over the query list, among those that
    have a match; gallery crops of the query's identity and camera are left out, as in the scores.

    Args:
        path: file to write, ``.jpg`` or ``.png``.
        query, gallery: records and identities.
        q_features, g_features: float (Q, D) and (G, D).
        queries: rows at most.
        topk: gallery crops a row.
        filter_same_camera: as in the evaluation.

    Returns:
        The picture, uint8 (H, W, 3), RGB.

    Raises:
        UserError: no query has a match, or the file cannot be written (:class:`UnwritableError`).
        ValueError: another ending of ``path``.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"a picture ends with {', '.join(SUFFIXES)}, unlike {path}")
    chosen = _spread(_with_match(query, gallery, filter_same_camera), queries)
    if not len(chosen):
        raise UserError("There is nothing to draw: no query has a match in the gallery.")
    nearest, dist = nearest_gallery(query, gallery, q_features, g_features, chosen, topk, filter_same_camera)
    rows = []
    for i, columns, values in zip(chosen, nearest, dist):
        record = query.tracklets[i]
        cells = [_cell(record.paths[0], BLUE, f"query c{record.camid + 1}")]
        for j, value in zip(columns, values):
            found = gallery.tracklets[j]
            right = gallery.truth.pids[j] == query.truth.pids[i]
            cells.append(_cell(found.paths[0], GREEN if right else RED, f"c{found.camid + 1} {value:.2f}"))
        rows.append(cells)
    picture = _grid(rows)
    _write(path, picture)
    return picture


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
        q_cams, g_cams = _camids(query)[index.numpy()], _camids(gallery)
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
        paths: N image files.
        labels: integers (N,), -1 for outliers.
        clusters: rows at most.

    Returns:
        uint8 (H, W, 3), RGB; a blank one if there is no cluster.
    """
    labels = np.asarray(labels)
    names, sizes = np.unique(labels[labels >= 0], return_counts=True)
    by_size = names[np.argsort(-sizes, kind="stable")]
    rows = []
    for name in _spread(by_size, clusters):
        all_members = np.flatnonzero(labels == name)
        shown = _spread(all_members, members)
        captions = [f"#{name}: {len(all_members)}"] + [""] * (len(shown) - 1)
        rows.append([_cell(paths[i], BLUE, caption) for i, caption in zip(shown, captions)])
    return _grid(rows)


def _with_match(query: Split, gallery: Split, filter_same_camera: bool) -> np.ndarray:
    """Positions of the queries that have a match in the gallery, from another camera if that is asked for."""
    if not filter_same_camera:
        return np.flatnonzero(np.isin(query.truth.pids, gallery.truth.pids))
    cameras: dict[int, set[int]] = {}
    for pid, cam in zip(gallery.truth.pids.tolist(), _camids(gallery).tolist()):
        cameras.setdefault(pid, set()).add(cam)
    pairs = zip(query.truth.pids.tolist(), _camids(query).tolist())
    return np.flatnonzero([bool(cameras.get(pid, set()) - {cam}) for pid, cam in pairs])


def _camids(split: Split) -> np.ndarray:
    return np.array([tracklet.camid for tracklet in split.tracklets], dtype=np.int64)


def _spread(items: np.ndarray, count: int) -> np.ndarray:
    """``count`` of the items (or all), evenly spread, the first included."""
    count = min(count, len(items))
    return items[np.arange(count) * len(items) // max(count, 1)]


def _cell(path: str, colour: tuple[int, int, int], caption: str) -> np.ndarray:
    """A framed crop over its caption; a crossed-out grey one where the file cannot be read."""
    import cv2

    from unreid.data.reading import read_image

    height, width = CROP
    try:
        image: Any = cv2.resize(np.asarray(read_image(path)), (width, height), interpolation=cv2.INTER_AREA)
    except UserError:
        image = np.full((height, width, 3), 200, dtype=np.uint8)
        cv2.line(image, (0, 0), (width, height), INK, 1)
    framed = cv2.copyMakeBorder(image, BORDER, BORDER, BORDER, BORDER, cv2.BORDER_CONSTANT, value=colour)
    cell = np.full((framed.shape[0] + CAPTION, framed.shape[1], 3), PAPER, dtype=np.uint8)
    cell[: framed.shape[0]] = framed
    cv2.putText(cell, caption, (1, cell.shape[0] - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.34, INK, 1, cv2.LINE_AA)
    return cell


def _grid(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Cells of one size, with gaps, on white."""
    height, width = CROP[0] + 2 * BORDER + CAPTION, CROP[1] + 2 * BORDER
    columns = max((len(row) for row in rows), default=1)
    shape = (max(len(rows), 1) * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3)
    sheet = np.full(shape, PAPER, dtype=np.uint8)
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            top, left = GAP + y * (height + GAP), GAP + x * (width + GAP)
            sheet[top : top + height, left : left + width] = cell
    return sheet


def _write(path: Path, picture: np.ndarray) -> None:
    import cv2

    _, data = cv2.imencode(path.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    atomic_write_bytes(path, data.tobytes())
