"""Camera-aware k-reciprocal re-ranking (CA-Jaccard, Chen et al., CVPR 2024, its test-time form)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unreid.evaluation.distance import DistanceBlocks, row_slices
from unreid.evaluation.rerank import (
    RowBlocks,
    SparseEncoding,
    StackedDistances,
    expand_queries,
    mixed_distances,
    reciprocal_places,
    smallest,
    weighted,
)
from unreid.utils.arrays import ArrayLike, as_integers

_EXCLUDED = 4.0  # added to distances in [0, 1] so that excluded rows come last, nearest first


def camera_rerank(
    q_g: Tensor,
    q_q: Tensor | RowBlocks,
    g_g: Tensor | RowBlocks,
    query_camids: ArrayLike,
    gallery_camids: ArrayLike,
    *,
    k1_intra: int = 5,
    k1_inter: int = 20,
    k2_intra: int = 3,
    k2_inter: int = 3,
    lambda_value: float = 0.3,
    square_input: bool = False,
    block: int | None = None,
) -> Tensor:
    """Re-ranked query x gallery distances: ``(1 - lambda) * CA-Jaccard + lambda * original``.

    "Original" is the squared Euclidean distance over the largest one of the row. Unlike
    :func:`~unreid.evaluation.rerank.rerank`, whose published form squares twice, this one is published with Euclidean
    distances that it squares itself: hand in squared distances, or Euclidean ones with ``square_input``.

    Args:
        q_g: float (Q, G).
        q_q, g_g: float (Q, Q) and (G, G), or functions that give the rows of a slice of them.
        query_camids, gallery_camids: int (Q,) and (G,).
        k1_intra, k1_inter: reciprocal neighbours among the own camera's rows and among the others', self not counted.
        k2_intra, k2_inter: rows of either list that the query expansion averages.
        lambda_value: share of the original distance in [0, 1].
        block: rows of the stacked matrix computed at once; default: as many as fit 8 MiB.

    Returns:
        float32 (Q, G) on the device of ``q_g``.

    Raises:
        ValueError: shapes that do not fit, or a parameter out of range.
    """
    if min(k1_intra, k1_inter, k2_intra + k2_inter) < 1 or min(k2_intra, k2_inter) < 0:
        raise ValueError("need k1_intra, k1_inter >= 1, k2_intra, k2_inter >= 0 and one of the latter above 0")
    if not 0.0 <= lambda_value <= 1.0:
        raise ValueError(f"need lambda in [0, 1], not {lambda_value}")
    stacked = StackedDistances(q_g, q_q, g_g, square_input)
    asked = as_integers(query_camids, "query_camids", len(q_g)).cpu()
    camids = torch.cat([asked, as_integers(gallery_camids, "gallery_camids", q_g.shape[1]).cpu()]).to(q_g.device)
    widths = max(k1_intra + 1, k2_intra), max(k1_inter + 1, k2_inter)
    intra, inter = _camera_ranks(stacked, camids, *widths, block)
    encoding = _encode(stacked, intra[:, : k1_intra + 1], inter[:, : k1_inter + 1], block)
    encoding = expand_queries(encoding, torch.cat([intra[:, :k2_intra], inter[:, :k2_inter]], dim=1))
    return mixed_distances(stacked, encoding, lambda_value, block)


def camera_rerank_features(
    query: Tensor,
    gallery: Tensor,
    query_camids: ArrayLike,
    gallery_camids: ArrayLike,
    *,
    q_g: Tensor | None = None,
    **sizes: Any,
) -> Tensor:
    """:func:`camera_rerank` of features (Q, D) and (G, D), whose gallery x gallery distances are never stored.

    ``q_g``, squared Euclidean, replaces the query x gallery block. The sizes are those of :func:`camera_rerank`.
    """
    q_g = DistanceBlocks(query, gallery).dense() if q_g is None else q_g
    q_q, g_g = DistanceBlocks(query, query), DistanceBlocks(gallery, gallery)
    return camera_rerank(q_g, q_q, g_g, query_camids, gallery_camids, **sizes)


def _camera_ranks(
    stacked: StackedDistances, camids: Tensor, intra: int, inter: int, block: int | None
) -> tuple[Tensor, Tensor]:
    """int64 (N, intra) and (N, inter): nearest rows of the own camera, itself first, and of the others."""
    n = stacked.num_rows
    lists = []
    for rows in row_slices(n, n, block):
        dist = stacked(rows)
        dist.diagonal(rows.start).fill_(-1.0)
        same = camids[rows, None] == camids
        own, others = dist + _EXCLUDED * ~same, dist + _EXCLUDED * same
        lists.append((smallest(own, min(intra, n)), smallest(others, min(inter, n))))
    near, far = (torch.cat(part) for part in zip(*lists))
    return near, far


def _encode(stacked: StackedDistances, intra: Tensor, inter: Tensor, block: int | None) -> SparseEncoding:
    """Rows exp(-O_ij) / sum over the reciprocal neighbours of both lists, zero elsewhere."""
    n = stacked.num_rows
    members = [(ranks, reciprocal_places(ranks)) for ranks in (intra, inter)]
    entries = []
    for rows in row_slices(n, n, block):
        mask = torch.zeros(rows.stop - rows.start, n, dtype=torch.bool, device=intra.device)
        for ranks, member in members:
            row, place = member[rows].nonzero(as_tuple=True)
            mask[row, ranks[rows][row, place]] = True
        entries.append(weighted(stacked, rows, mask))
    return SparseEncoding.from_entries(entries, n)
