"""k-reciprocal Jaccard distances as a sparse graph: every pair up to a radius, memory O(N k).

The distance is that of Zhong et al. (CVPR 2017) as the cluster-contrast family uses it. Two rows whose supports share
no column are at distance exactly 1, so only pairs that meet in a column are ever visited: the graph holds what the
dense N x N matrix holds up to the radius.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize as l2_normalize

from unreid.neighbors import minsum_scipy, minsum_torch
from unreid.neighbors.knn import knn
from unreid.neighbors.share import ALONE, Share
from unreid.neighbors.support import SparseRows, support_weights
from unreid.structures import PairGraph
from unreid.utils.arrays import ArrayLike, as_features
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)

MAX_RADIUS = 1 - 1e-6  # "every pair that meets": distances below 1


class Backend(NamedTuple):
    """The two steps that differ between libraries: query expansion, and distances of the pairs that meet."""

    mean_rows: Callable[[SparseRows, Tensor], SparseRows]
    pair_distances: Callable[[SparseRows, float, Share], tuple[Tensor, Tensor, Tensor]]


BACKENDS = {
    "scipy": Backend(minsum_scipy.mean_rows, minsum_scipy.pair_distances),
    "torch": Backend(minsum_torch.mean_rows, minsum_torch.pair_distances),
}


@torch.no_grad()
def jaccard_graph(
    features: ArrayLike,
    *,
    k1: int = 30,
    k2: int = 6,
    k1_includes_self: bool = True,
    radius: float = MAX_RADIUS,
    tol: float = 1e-6,
    backend: str = "auto",
    neighbors: tuple[Tensor, Tensor] | None = None,
    normalize: bool = False,
    knn_backend: str = "torch",
    seed: int = 0,
    share: Share = ALONE,
) -> PairGraph:
    """All pairs with Jaccard distance up to ``radius + tol``.

    Args:
        features: (N, D). Rows are taken as they are; weights are then a softmax of ``2 <x, y> - 2``.
        k2: size of the local query expansion; 1 switches it off.
        k1_includes_self: neighbour lists of k1 entries, self among them (Cluster Contrast, ISE, CDSM, AuxUSL); else of
            k1 + 1 (3C).
        radius: largest distance wanted, below 1. The default keeps every pair that meets, which fits every clusterer;
            a clusterer's own ``radius`` makes a smaller graph.
        tol: added to the radius, so that structural ties at it are decided alike on every machine; 0: bare comparison.
        backend: "scipy", "torch", or "auto" (scipy on a CPU, torch elsewhere).
        neighbors: (distance, index) as :func:`unreid.neighbors.knn` returns them, at least as wide as the lists, to
            skip the search; they must belong to ``features`` (after normalisation).
        knn_backend, seed: of the search.
        share: with several processes, which all call this with the same ``neighbors``: each makes its part of the
            graph, and all get the whole.

    Returns:
        The graph, on the device of the features.

    Raises:
        UserError: unknown backend; a radius not below 1.
        InputError: features that are not finite numbers (N, D).
        ValueError: neighbour lists that are too narrow, of another length or hold an index outside 0..N-1.
    """
    check_radius(radius)
    features = as_features(features)
    parts = backend_of(backend, features.device)
    if normalize:
        features = l2_normalize(features, dim=1)
    width, half, k2 = list_sizes(len(features), k1, k2, k1_includes_self)
    if neighbors is None:
        neighbors = knn(features, width, backend=knn_backend, seed=seed)
    distance, index = _checked_lists(neighbors, len(features), width)
    distance, index = distance.to(features.device), index.to(features.device)
    span = share.span(len(features))
    rows = share.join_rows(support_weights(features, distance, index, half, span))
    if k2 > 1:
        rows = share.join_rows(parts.mean_rows(rows, index[slice(*span), :k2]))
    return graph_of_rows(rows, parts, radius, tol, share)


def graph_of_rows(rows: SparseRows, backend: Backend, radius: float, tol: float, share: Share = ALONE) -> PairGraph:
    """The graph of the Jaccard distances between sparse rows of weights."""
    i, j, distance = (share.join(part) for part in backend.pair_distances(rows, radius + tol, share))
    return PairGraph(len(rows), i, j, distance, radius, _self_distances(rows))


def check_radius(radius: float) -> None:
    """Raises :class:`UserError` unless the radius is one of a Jaccard distance that leaves pairs out."""
    if not 0 < radius < 1:
        raise UserError(
            f"A Jaccard radius (CLUSTER.EPS plus gap) lies between 0 and 1, not at {radius}: at 1 all are neighbours."
        )


def jaccard_distance(
    features: ArrayLike, *, k1: int = 30, k2: int = 6, k1_includes_self: bool = True, normalize: bool = False
) -> Tensor:
    """The dense matrix of k-reciprocal Jaccard distances, float32 (N, N), symmetric, in [0, 1].

    For small N, and for libraries that want a matrix; :func:`jaccard_graph` holds the same numbers in O(N k) memory.

    Args:
        features: (N, D).
        k1, k2, k1_includes_self, normalize: see :func:`jaccard_graph`.
    """
    return jaccard_graph(features, k1=k1, k2=k2, k1_includes_self=k1_includes_self, normalize=normalize).to_dense()


def list_width(k1: int, k1_includes_self: bool) -> int:
    """Width w of the neighbour lists that ``jaccard_graph`` needs."""
    return k1 if k1_includes_self else k1 + 1


def list_sizes(n: int, k1: int, k2: int, k1_includes_self: bool) -> tuple[int, int, int]:
    """Widths of full and half lists and of the query expansion, clamped to N."""
    if k1 < 1 or k2 < 1:
        raise UserError(f"CLUSTER.K1 and K2 must be at least 1, not {k1} and {k2}.")
    width = list_width(k1, k1_includes_self)
    if k2 > width:
        raise UserError(f"CLUSTER.K2 = {k2} exceeds the {width} entries of a neighbour list; lower it or raise K1.")
    if width > n:
        logger.warning("k1 = %d is too large for %d samples: every list holds all of them", k1, n)
    half = round(k1 / 2) + 1  # rounds half to even, as the references do
    return min(width, n), min(half, width, n), min(k2, n)


def backend_of(name: str, device: torch.device) -> Backend:
    """The back-end of a name, checked against the device."""
    if name == "auto":
        name = "scipy" if device.type == "cpu" else "torch"
    if name not in BACKENDS:
        raise UserError(f"There is no Jaccard backend {name!r}; choose one of {', '.join(('auto', *BACKENDS))}.")
    if name != "torch" and device.type != "cpu":
        raise UserError(f"The Jaccard backend {name} works on a CPU, and the features are on {device}: use auto.")
    return BACKENDS[name]


def _checked_lists(neighbors: tuple[Tensor, Tensor], n: int, width: int) -> tuple[Tensor, Tensor]:
    distance, index = neighbors
    if index.shape != distance.shape or index.ndim != 2 or len(index) != n or index.shape[1] < width:
        raise ValueError(f"neighbors must be two ({n}, >= {width}) arrays, not {distance.shape} and {index.shape}")
    distance, index = distance[:, :width].float(), index[:, :width].long()
    if int(index.min()) < 0 or int(index.max()) >= n:
        raise ValueError(f"neighbour lists hold indices outside 0..{n - 1} (-1 is how faiss marks a missing neighbour)")
    return distance, index


def _self_distances(rows: SparseRows) -> Tensor:
    """J_ii: 0 but for rounding, and above it where a row lost mass (empty supports)."""
    mass = torch.segment_reduce(rows.value.double(), "sum", lengths=rows.start.diff(), unsafe=True).float()
    return (1 - mass / (2 - mass)).clamp_(min=0)
