"""Nearest neighbours of every row among all rows: one function over all search back-ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unreid.neighbors.cell_search import CELLS, FEW, CellSearch
from unreid.neighbors.faiss_search import EF_SEARCH, NPROBE, faiss_search
from unreid.neighbors.torch_search import exact_search, full_precision, has_fast_bf16
from unreid.utils.arrays import ArrayLike, as_features, as_integers
from unreid.utils.registry import Registry

logger = logging.getLogger(__name__)

_EXACT = 50_000  # rows up to which "auto" searches exactly on a CPU


@dataclass(frozen=True)
class Search:
    """How a search is done; a back-end reads what concerns it, see :func:`knn`."""

    block: int = 0
    nprobe: int = NPROBE
    ef_search: int = EF_SEARCH
    seed: int = 0


KnnBackend = Callable[[Tensor, "Tensor | None", int, Search], tuple[Tensor, Tensor]]
"""(features (N, D), queries (Q,) or None for all, k <= N, how) -> what :func:`knn` returns."""

KNN_BACKENDS: Registry[KnnBackend] = Registry("kNN back-end")


@KNN_BACKENDS.register("torch")
def _torch(features: Tensor, queries: Tensor | None, k: int, how: Search) -> tuple[Tensor, Tensor]:
    """Exact, in float32, on the device of the features."""
    return exact_search(features, queries, k, dtype=torch.float32, block=how.block)


@KNN_BACKENDS.register("torch_bf16")
def _torch_bf16(features: Tensor, queries: Tensor | None, k: int, how: Search) -> tuple[Tensor, Tensor]:
    """Exact too: bfloat16 products propose, float32 decides."""
    if not has_fast_bf16(features.device):
        logger.warning("%s has no bfloat16 products in hardware: searching in float32", features.device)
        return _torch(features, queries, k, how)
    return exact_search(features, queries, k, dtype=torch.bfloat16, block=how.block)


@KNN_BACKENDS.register("torch_ivf")
def _torch_ivf(features: Tensor, queries: Tensor | None, k: int, how: Search) -> tuple[Tensor, Tensor]:
    """Many small cells scanned by matrix products, approximate; few rows are searched exactly."""
    if len(features) <= FEW:
        return _torch(features, queries, k, how)
    rows = torch.arange(len(features), device=features.device) if queries is None else queries
    return CellSearch(features, seed=how.seed)(rows, k)


@KNN_BACKENDS.register("auto")
def _auto(features: Tensor, queries: Tensor | None, k: int, how: Search) -> tuple[Tensor, Tensor]:
    """What suits the number of rows and the device, see :func:`resolved`."""
    return KNN_BACKENDS.get(resolved("auto", features))(features, queries, k, how)


@KNN_BACKENDS.register("faiss_flat")
def _faiss_flat(features: Tensor, queries: Tensor | None, k: int, how: Search) -> tuple[Tensor, Tensor]:
    """faiss's exhaustive index, certified, so exact."""
    return _faiss("faiss_flat", features, queries, k, how)


@KNN_BACKENDS.register("faiss_ivf")
def _faiss_ivf(features: Tensor, queries: Tensor | None, k: int, how: Search) -> tuple[Tensor, Tensor]:
    """faiss's inverted lists, approximate."""
    return _faiss("faiss_ivf", features, queries, k, how)


@KNN_BACKENDS.register("faiss_hnsw")
def _faiss_hnsw(features: Tensor, queries: Tensor | None, k: int, how: Search) -> tuple[Tensor, Tensor]:
    """faiss's navigable small-world graph, approximate."""
    return _faiss("faiss_hnsw", features, queries, k, how)


def _faiss(kind: str, features: Tensor, queries: Tensor | None, k: int, how: Search) -> tuple[Tensor, Tensor]:
    rows = torch.arange(len(features), device=features.device) if queries is None else queries
    return faiss_search(features, rows, k, kind, nprobe=how.nprobe, ef_search=how.ef_search, seed=how.seed)


@torch.no_grad()
def knn(
    features: ArrayLike,
    k: int,
    *,
    backend: str = "torch",
    queries: ArrayLike | None = None,
    block: int = 0,
    nprobe: int = NPROBE,
    ef_search: int = EF_SEARCH,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """The k nearest rows of every row, itself included, in one order on every device and with every block size.

    A list begins with the row itself; the others follow by ascending (distance, index). ``torch``, ``torch_bf16`` and
    ``faiss_flat`` are exact; ``torch_ivf``, ``faiss_ivf`` and ``faiss_hnsw`` may miss neighbours: their recall is
    estimated on 500 rows, logged, and a value below 0.95 is warned about. ``auto`` is ``torch`` up to 50,000 rows, and
    above that ``torch_ivf`` on a CPU and ``torch_bf16`` elsewhere.

    Args:
        features: (N, D), any device; rows need not have unit norm.
        k: width of the lists; clamped to N with a warning.
        backend: a name of ``KNN_BACKENDS``.
        queries: int64 (Q,), rows whose lists are wanted (one process's share); None: all.
        block: query rows scanned at once by the torch back-ends; 0 chooses by memory. Never changes the result.
        nprobe: lists visited by ``faiss_ivf``.
        ef_search: search width of ``faiss_hnsw``.
        seed: of the approximate indices and of the recall sample.

    Returns:
        float32 (Q, k) squared Euclidean distances and int64 (Q, k) indices, on the device of the features.

    Raises:
        UserError: unknown backend.
        InputError: features that are not finite numbers (N, D).
    """
    search = KNN_BACKENDS.get(backend)
    features = as_features(features)
    n = len(features)
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    if k > n:
        logger.warning("lists of %d neighbours wanted from %d samples: they hold %d", k, n, n)
        k = n
    if queries is not None:
        queries = as_integers(queries, "queries").to(features.device)
        if len(queries) == 0:
            return features.new_empty(0, k), queries.new_empty(0, k)
    with full_precision():
        return search(features, queries, k, Search(block, nprobe, ef_search, seed))


def resolved(backend: str, features: Tensor) -> str:
    """The back-end that ``auto`` stands for, any other as it is."""
    if backend != "auto":
        return backend
    if len(features) <= _EXACT:
        return "torch"
    return CELLS if features.device.type == "cpu" else "torch_bf16"
