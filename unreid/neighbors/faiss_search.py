"""Neighbour candidates from faiss (flat, IVF, HNSW) in this package's order, their recall measured."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unreid.neighbors.rescoring import order_candidates
from unreid.neighbors.torch_search import Scorer, Spans, certified_lists, exact_search
from unreid.utils.progress import task, tracked

logger = logging.getLogger(__name__)

FAISS_BACKENDS = ("faiss_flat", "faiss_ivf", "faiss_hnsw")
NPROBE = 32  # IVF lists that a query visits
EF_SEARCH = 128  # width of a query's walk through the HNSW graph
_BLOCK = 8192  # rows handed to faiss at once
MARGIN = 6  # candidates beyond k
_RECALL_ROWS = 500
_RECALL_WARNING = 0.95


def faiss_search(
    features: Tensor,
    queries: Tensor,
    k: int,
    kind: str,
    *,
    nprobe: int = NPROBE,
    ef_search: int = EF_SEARCH,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Lists from a faiss index on the CPU; arguments and result as :func:`unreid.neighbors.knn`.

    The index proposes; distances and order are computed as everywhere else. A row whose proposal is short (faiss pads
    with -1) is searched exactly. ``faiss_flat`` is certified like the torch search, so that it is exact.
    """
    index = build_index(features, kind, nprobe=nprobe, ef_search=ef_search, seed=seed)

    def found(rows: Tensor, width: int) -> tuple[Tensor, Tensor]:
        distance, candidates = index.search(features[rows].cpu().numpy(), width)
        return torch.from_numpy(candidates).to(rows), torch.from_numpy(distance[:, -1]).to(features)

    if kind != "faiss_flat":
        width = min(k + MARGIN, len(features))
        return approximate_lists(features, queries, k, lambda rows: found(rows, width)[0], kind, seed=seed)
    scorer = Scorer.of(features, torch.float32)

    def propose(rows: Tensor, width: int) -> tuple[Tensor, Tensor]:
        candidates, worst = found(rows, width)
        return _with_self(candidates, rows), worst - scorer.square[rows]

    return certified_lists(features, scorer, queries, k, propose, margin=MARGIN, block=_BLOCK)


def approximate_lists(
    features: Tensor,
    queries: Tensor,
    k: int,
    propose: Callable[[Tensor], Tensor],
    kind: str,
    *,
    seed: int = 0,
    spans: Spans | None = None,
) -> tuple[Tensor, Tensor]:
    """Lists from a search that may miss neighbours; its recall is reported, and short lists are searched exactly.

    Args:
        features, queries, k, spans: as :func:`unreid.neighbors.torch_search.exact_search`.
        propose: rows int64 (Q,) -> candidates int64 (Q, c), c >= k; -1 where there are fewer.
        kind: of search, for messages.
        seed: of the rows whose recall is measured.
    """
    distance, neighbor = features.new_empty(len(queries), k), queries.new_empty(len(queries), k)
    starts = range(0, len(queries), _BLOCK)
    for start in tracked(starts, "neighbour lists", len(starts), "blocks"):
        part = slice(start, start + _BLOCK)
        rows = queries[part]
        candidates = propose(rows)
        inside = torch.full_like(rows, spans is None, dtype=torch.bool)
        for first, last in spans or ():
            inside |= (rows >= first) & (rows < last)
        candidates[inside] = _with_self(candidates[inside], rows[inside])
        distance[part], neighbor[part] = order_candidates(features, rows, candidates, k)
    short = (neighbor < 0).any(dim=1).nonzero()[:, 0]
    if len(short):
        logger.info("%d of %d lists came back short and are searched exactly", len(short), len(queries))
        distance[short], neighbor[short] = exact_search(features, queries[short], k, spans=spans)
    report_recall(features, queries, neighbor, kind, seed=seed, spans=spans)
    return distance, neighbor


def build_index(features: Tensor, kind: str, *, nprobe: int = NPROBE, ef_search: int = EF_SEARCH, seed: int = 0) -> Any:
    """A faiss index over all rows, filled block by block (``features`` may be memory-mapped).

    IVF has about ``4 sqrt(N)`` lists trained on at most 64 rows a list, the same for the same seed. HNSW has 32 links a
    node; threads insert in no fixed order, so two builds differ a little unless ``OMP_NUM_THREADS`` is 1.
    """
    import faiss

    n, dim = features.shape
    index: Any
    if kind == "faiss_flat":
        index = faiss.IndexFlatL2(dim)
    elif kind == "faiss_hnsw":
        index = faiss.IndexHNSWFlat(dim, 32)
        index.hnsw.efConstruction = 80
        index.hnsw.efSearch = ef_search
    else:
        lists = max(1, min(round(4 * math.sqrt(n)), n // 39 or 1))
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(dim), dim, lists)
        index.cp.seed = seed + 1
        index.nprobe = min(nprobe, lists)
        sample = np.sort(np.random.default_rng(seed).permutation(n)[: 64 * lists])
        with task("training the index"):
            index.train(features[torch.from_numpy(sample).to(features.device)].cpu().numpy())
    for part in tracked(features.split(_BLOCK), "index", -(-n // _BLOCK), "blocks"):
        index.add(part.cpu().numpy())
    return index


def report_recall(
    features: Tensor, queries: Tensor, neighbor: Tensor, kind: str, *, seed: int = 0, spans: Spans | None = None
) -> float:
    """Share of the true neighbours that the lists hold; logged, and warned about below 0.95.

    It is that of at most 500 rows, or of a part of them where the queries are a part of the rows.
    """
    count = max(_RECALL_ROWS // 10, _RECALL_ROWS * len(queries) // len(features))
    chosen = np.random.default_rng(seed).permutation(len(queries))[:count]
    sample = torch.from_numpy(np.sort(chosen)).to(queries.device)
    exact = exact_search(features, queries[sample], neighbor.shape[1], spans=spans)[1]
    recall = recall_of(neighbor[sample], exact)
    if recall < _RECALL_WARNING:
        logger.warning(
            "%s found %.1f %% of the true neighbours; missed ones turn samples into outliers: use the exact "
            "CLUSTER.KNN.BACKEND torch or torch_bf16",
            kind,
            100 * recall,
        )
    else:
        logger.info("%s found %.1f %% of the true neighbours of %d rows", kind, 100 * recall, len(sample))
    return recall


def recall_of(found: Tensor, exact: Tensor) -> float:
    """Mean share of the entries of ``exact`` (Q, k) that occur in the same row of ``found`` (Q, k)."""
    return float((exact[:, :, None] == found[:, None, :]).any(dim=2).float().mean())


def _with_self(candidates: Tensor, rows: Tensor) -> Tensor:
    """Makes sure that a row is its own candidate: faiss may drop it among duplicates."""
    absent = ~(candidates == rows[:, None]).any(dim=1)
    candidates[absent, -1] = rows[absent]
    return candidates
