"""Distances of chosen pairs, and neighbour lists in one order, whatever proposed the candidates.

A matrix product gives a distance whose last bits depend on how the product was cut into blocks; near-ties then change
places with the block size. Everything that decides an order goes through this file instead: it subtracts and sums one
pair at a time, so that a distance depends on the two rows only, and identical rows are at distance 0 exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

_CHUNK_BYTES = {"cpu": 2**20, "cuda": 2**28}  # gathered rows held at once: about one cache on CPU


def squared_distances(features: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Squared Euclidean distances of P pairs of rows.

    Args:
        features: float32 (N, D).
        left, right: int64 (P,), row numbers.

    Returns:
        float32 (P,), each entry independent of the other pairs; relative error below ``D * 2**-24``.
    """
    chunk = max(1, _CHUNK_BYTES.get(features.device.type, 2**24) // (8 * max(1, features.shape[1])))
    pairs = len(left)
    if features.is_cuda:  # its reductions depend on the number of rows: fill the last chunk up
        left, right = (pad(part, (0, -pairs % chunk)) for part in (left, right))
    out = features.new_empty(len(left))
    ours = features.new_empty(min(chunk, len(left)), features.shape[1])
    theirs = torch.empty_like(ours)
    for start in range(0, len(left), chunk):
        stop = min(start + chunk, len(left))
        a = torch.index_select(features, 0, left[start:stop], out=ours[: stop - start])
        b = torch.index_select(features, 0, right[start:stop], out=theirs[: stop - start])
        torch.linalg.vector_norm(a.sub_(b), dim=1, out=out[start:stop])
    return out[:pairs].square_()


def squared_norms(features: Tensor) -> Tensor:
    """float64 (N,): squared norms of float32 rows, without a float64 copy of them."""
    out = torch.empty(len(features), dtype=torch.float64, device=features.device)
    chunk = max(1, _CHUNK_BYTES.get(features.device.type, 2**24) // (8 * max(1, features.shape[1])))
    wide = torch.empty(min(chunk, len(features)), features.shape[1], dtype=torch.float64, device=features.device)
    for start in range(0, len(features), chunk):
        part = features[start : start + chunk]
        torch.sum(wide[: len(part)].copy_(part).square_(), dim=1, out=out[start : start + chunk])
    return out


def order_candidates(features: Tensor, rows: Tensor, candidates: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best of some candidates of each row: the row itself first, then by (distance, index).

    Args:
        features: float32 (N, D).
        rows: int64 (Q,), the rows whose lists are made.
        candidates: int64 (Q, c), c >= k, without repetition; -1 where a search found less.
        k: width of the lists.

    Returns:
        float32 (Q, k) squared distances (inf where a list is short) and int64 (Q, k) indices (-1 there).
    """
    candidates = candidates.sort(dim=1).values  # ascending index; the stable sort below keeps it among equals
    missing = candidates < 0
    left = rows[:, None].expand_as(candidates)
    distance = squared_distances(features, left.reshape(-1), candidates.clamp(min=0).reshape(-1))
    distance = distance.view_as(candidates).masked_fill_(missing, torch.inf)
    key = distance.masked_fill(candidates == left, -1.0)
    best = key.sort(dim=1, stable=True).indices[:, :k]
    return distance.gather(1, best), candidates.gather(1, best)


def order_pairs(features: Tensor, rows: Tensor, left: Tensor, right: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """As :func:`order_candidates` for ragged candidates given as pairs.

    Args:
        features: float32 (N, D).
        rows: int64 (Q,).
        left: int64 (P,), positions in ``rows``; every position occurs at least k times.
        right: int64 (P,), candidate rows; the pairs come sorted by (left, right).
        k: width of the lists.
    """
    distance = squared_distances(features, rows[left], right)
    key = distance.masked_fill(rows[left] == right, -1.0)
    order = key.argsort(stable=True)
    order = order[left[order].argsort(stable=True)]
    counts = torch.bincount(left, minlength=len(rows))
    starts = counts.cumsum(0) - counts
    best = order[starts[:, None] + torch.arange(k, device=left.device)]
    return distance[best], right[best]
