"""CA-Jaccard: the k-reciprocal Jaccard distance with neighbours of the own and of other cameras kept apart.

Images of one camera look alike whoever they show, and fill each other's neighbour lists. Chen et al. (CA-Jaccard:
Camera-aware Jaccard Distance for Person Re-identification, CVPR 2024) rank both groups by themselves: reciprocal
neighbours come from both lists (CKRNN, section 3.2), and so do the rows that a query expansion averages (CLQE,
section 3.3). Everything after that is the sparse Jaccard distance of :mod:`unreid.neighbors.jaccard`.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor

from unreid.neighbors.camera_lists import CameraLists, camera_lists
from unreid.neighbors.jaccard import backend_of, check_radius, graph_of_rows, list_sizes
from unreid.neighbors.knn import knn
from unreid.neighbors.rescoring import squared_norms
from unreid.neighbors.share import ALONE, Share
from unreid.neighbors.support import SparseRows, joined_rows, reciprocal, segment_softmax, support_weights
from unreid.structures import PairGraph
from unreid.utils.arrays import ArrayLike, as_features, as_integers
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)

_ROWS = 2**16  # rows whose sets are joined at once


@torch.no_grad()
def camera_jaccard_graph(
    features: ArrayLike,
    camids: ArrayLike,
    *,
    k1_intra: int = 5,
    k1_inter: int = 20,
    k2_intra: int = 3,
    k2_inter: int = 3,
    ckrnn: bool = True,
    clqe: bool = True,
    k1: int = 30,
    k2: int = 6,
    radius: float = 0.6,
    tol: float = 1e-6,
    backend: str = "auto",
    lists: CameraLists | None = None,
    knn_backend: str = "torch",
    share: Share = ALONE,
) -> PairGraph:
    """All pairs with CA-Jaccard distance up to ``radius + tol``, on the device of the features.

    Args:
        features: (N, D), unit rows as published; weights are a softmax of ``2 <x, y> - 2``.
        camids: int (N,), the camera of every row. With one camera only, the own-camera half is all there is.
        k1_intra, k1_inter: reciprocal neighbours among the own camera's rows and among the others', self not counted.
        k2_intra, k2_inter: rows of either list that the query expansion averages (the published training takes 3 and 3
            in its first round, then 2 and 4); 0 takes none of it.
        ckrnn: False (ablation): the plain reciprocal sets of ``k1``.
        clqe: False (ablation): the plain query expansion over ``k2`` neighbours.
        radius, tol, backend, knn_backend, share: see :func:`~unreid.neighbors.jaccard.jaccard_graph`.
        lists: what :func:`~unreid.neighbors.camera_lists.camera_lists` returns for these features, of widths
            ``list_widths(...)`` or more, to skip the search.

    Raises:
        UserError: an unknown backend, a radius not below 1, or sizes below what they can be.
        InputError: features that are not finite numbers (N, D), or cameras that are not integers (N,).
    """
    check_radius(radius)
    features = as_features(features)
    n, parts, span = len(features), backend_of(backend, features.device), share.span(len(features))
    camids = as_integers(camids, "camids", n).to(features.device)
    single = bool((camids == camids[0]).all())
    if single and (ckrnn or clqe):
        logger.warning("all %d samples come from one camera: CA-Jaccard uses neighbours of the own camera alone", n)
    aware: Any = lists
    widths = list_widths(k1_intra, k1_inter, k2_intra, k2_inter)
    if (ckrnn or clqe) and lists is None:
        aware = camera_lists(features, camids, *widths, backend=knn_backend)
    plain = None if ckrnn and clqe else knn(features, min(n, k2 if ckrnn else k1 + 1), backend=knn_backend)
    if plain is None or ckrnn:
        rows = _camera_supports(features, aware, min(k1_intra + 1, n), 0 if single else min(k1_inter + 1, n), span)
    else:
        rows = support_weights(features, *plain, list_sizes(n, k1, 1, False)[1], span)
    rows = share.join_rows(rows)
    if plain is None or clqe:
        taken = torch.cat([aware.intra[:, :k2_intra], aware.inter[:, : 0 if single else k2_inter]], dim=1)
    else:
        taken = plain[1][:, : k2 if k2 > 1 else 0]
    rows = share.join_rows(parts.mean_rows(rows, taken[slice(*span)])) if taken.shape[1] else rows
    return graph_of_rows(rows, parts, radius, tol, share)


def list_widths(k1_intra: int, k1_inter: int, k2_intra: int, k2_inter: int) -> tuple[int, int]:
    """Widths of the lists that :func:`camera_jaccard_graph` needs: of the own camera, of the others; checks sizes."""
    if min(k1_intra, k1_inter) < 1 or min(k2_intra, k2_inter) < 0 or k2_intra + k2_inter < 1:
        raise UserError(
            "CLUSTER.CA.K1_INTRA and K1_INTER must be at least 1, K2_INTRA and K2_INTER at least 0 and not both 0."
        )
    return max(k1_intra + 1, k2_intra), max(k1_inter + 1, k2_inter)


def _camera_supports(features: Tensor, lists: CameraLists, intra: int, inter: int, span: tuple[int, int]) -> SparseRows:
    """Softmax weights over the reciprocal neighbours of both lists, of the rows ``span``.

    ``intra`` and ``inter`` are the widths of the lists, 0 for none.
    """
    n = len(features)
    square = squared_norms(features)
    sides = [
        (index[:, :width], distance[:, :width], reciprocal(index[:, :width].int(), width))
        for index, distance, width in (
            (lists.intra, lists.intra_distance, intra),
            (lists.inter, lists.inter_distance, inter),
        )
        if width
    ]
    counts, columns, values = [], [], []
    for first in range(*span, _ROWS):
        block = slice(first, min(first + _ROWS, span[1]))
        found = [(member[block].nonzero(as_tuple=True), index[block], dist[block]) for index, dist, member in sides]
        key = torch.cat([row * n + index[row, place] for (row, place), index, _ in found])
        known = torch.cat([dist[row, place] for (row, place), _, dist in found])
        key, order = key.sort(stable=True)
        fresh = torch.ones_like(key, dtype=torch.bool)
        fresh[1:] = key[1:] != key[:-1]  # lists that run on into the other side share rows
        key, known = key[fresh], known[order][fresh]
        row = torch.div(key, n, rounding_mode="floor")
        column = key - row * n
        count = torch.bincount(row, minlength=block.stop - first)
        counts.append(count)
        columns.append(column.int())
        values.append(segment_softmax(square[column] - known, count, row))
    return joined_rows(counts, columns, values)
