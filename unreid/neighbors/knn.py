"""Nearest neighbours of every row among all rows: one function over all search back-ends."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from unreid.neighbors.cell_search import CELLS, FEW, CellSearch
from unreid.neighbors.faiss_search import EF_SEARCH, FAISS_BACKENDS, NPROBE, faiss_search
from unreid.neighbors.torch_search import exact_search, full_precision, has_fast_bf16
from unreid.utils.arrays import ArrayLike, as_features, as_integers
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)

BACKENDS = ("auto", "torch", "torch_bf16", CELLS, *FAISS_BACKENDS)
_EXACT = 50_000  # rows up to which "auto" searches exactly on a CPU


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
        backend: one of ``BACKENDS``.
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
    if backend not in BACKENDS:
        raise UserError(f"There is no neighbour search named {backend!r}; choose one of {', '.join(BACKENDS)}.")
    features = as_features(features)
    n = len(features)
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    if k > n:
        logger.warning("lists of %d neighbours wanted from %d samples: they hold %d", k, n, n)
        k = n
    backend = resolved(backend, features)
    if queries is not None:
        queries = as_integers(queries, "queries").to(features.device)
        if len(queries) == 0:
            return features.new_empty(0, k), queries.new_empty(0, k)
    with full_precision():
        if backend in FAISS_BACKENDS:
            queries = torch.arange(n, device=features.device) if queries is None else queries
            return faiss_search(features, queries, k, backend, nprobe=nprobe, ef_search=ef_search, seed=seed)
        if backend == CELLS and n > FEW:
            queries = torch.arange(n, device=features.device) if queries is None else queries
            return CellSearch(features, seed=seed)(queries, k)
        dtype = torch.float32
        if backend == "torch_bf16":
            if has_fast_bf16(features.device):
                dtype = torch.bfloat16
            else:
                logger.warning("%s has no bfloat16 products in hardware: searching in float32", features.device)
        return exact_search(features, queries, k, dtype=dtype, block=block)


def resolved(backend: str, features: Tensor) -> str:
    """The back-end that ``auto`` stands for, any other as it is."""
    if backend != "auto":
        return backend
    if len(features) <= _EXACT:
        return "torch"
    return CELLS if features.device.type == "cpu" else "torch_bf16"
