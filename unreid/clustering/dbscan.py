"""DBSCAN (Ester et al., KDD 1996) on a sparse pair graph, with scikit-learn's labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unreid.clustering.adaptive_eps import adaptive_eps
from unreid.clustering.base import CLUSTERERS, Clusterer, Turn, needed_graph
from unreid.clustering.constrained_growth import grow_apart
from unreid.clustering.keep_apart import check_links
from unreid.neighbors.builder import JACCARD, PairGraphBuilder
from unreid.neighbors.jaccard import MAX_RADIUS
from unreid.structures import Clustering, PairGraph
from unreid.utils.state import StateError, entries


def dbscan(graph: PairGraph, eps: float, min_samples: int = 4, tol: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Labels and core points.

    A sample is core with at least ``min_samples`` neighbours within ``eps + tol``, itself counted. Clusters are the
    connected components of the core points, numbered by their lowest core index; a border point joins the
    lowest-numbered cluster it touches. This equals scikit-learn's sequential algorithm on the dense matrix, numbering
    included (see ``tests/clustering``).

    Args:
        graph: pairs up to at least eps, built with the same tolerance.
        tol: decides pairs at distance eps alike on all machines; 0 reproduces the bare comparison.

    Returns:
        labels int64 (N,) with -1 for outliers, and core bool (N,), both on the graph's device.

    Raises:
        ValueError: the graph does not reach eps.
    """
    if eps > graph.radius:
        raise ValueError(f"the graph was built up to {graph.radius}, not up to eps = {eps}")
    keep = graph.dist <= eps + tol
    i, j = graph.i[keep], graph.j[keep]
    degree = torch.bincount(torch.cat((i, j)), minlength=graph.n) + (graph.self_dist <= eps + tol)
    core = degree >= min_samples
    inner = core[i] & core[j]
    root = _lowest_of_component(i[inner], j[inner], graph.n)
    # A component's number is the rank of its lowest core index, so the roots only need compaction.
    outside = graph.n
    root = torch.where(core, root, outside)
    for end, other in ((i, j), (j, i)):
        touches = ~core[end] & core[other]
        root = root.scatter_reduce(0, end[touches], root[other[touches]], "amin")
    found = torch.zeros(graph.n + 1, dtype=torch.bool, device=root.device)
    found[root[core]] = True
    number = found.cumsum(0) - 1
    labels = torch.where(root == outside, -1, number[root])
    return labels, core


def _lowest_of_component(i: Tensor, j: Tensor, n: int) -> Tensor:
    """int64 (N,): the lowest index connected to each sample by the edges."""
    return _lowest_by_scipy(i, j, n) if i.device.type == "cpu" else lowest_by_propagation(i, j, n)


def lowest_by_propagation(i: Tensor, j: Tensor, n: int) -> Tensor:
    """The same in torch operations: hooks every root to the lowest neighbouring root, then halves all paths.

    The number of passes is about the logarithm of the longest path; each compares on the host once.
    """
    root = torch.arange(n, device=i.device)
    while True:
        before = root
        lowest = torch.minimum(root[i], root[j])
        root = root.scatter_reduce(0, root[i], lowest, "amin").scatter_reduce(0, root[j], lowest, "amin")
        root = torch.minimum(root, before)
        root = root[root]
        if torch.equal(root, before):
            return root


def _lowest_by_scipy(i: Tensor, j: Tensor, n: int) -> Tensor:
    import numpy as np
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    edges = csr_array((np.ones(len(i), dtype=bool), (i.numpy(), j.numpy())), shape=(n, n))
    _, component = connected_components(edges, directed=False)
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    return torch.from_numpy(first[inverse.reshape(-1)].astype(np.int64))


class DensityClusterer(Clusterer):
    """What the clusterers around :func:`dbscan` share: the density, the graph of ``fit``, and cannot-links.

    Args:
        eps: radius of a neighbourhood.
        min_samples: neighbours of a core point, itself counted.
        tol: added to every radius, see :func:`dbscan`.
        metric, sizes: of the graph that ``fit`` builds, see :class:`~unreid.neighbors.PairGraphBuilder` (k1, k2).

    Attributes:
        links: cannot-links that no cluster may hold, or None.
        relaxed: which of them are forgotten, see :func:`~unreid.clustering.constrained_growth.relax`.
    """

    takes_links = True

    def __init__(
        self, eps: float = 0.6, min_samples: int = 4, *, tol: float = 1e-6, metric: str = JACCARD, **sizes: int
    ) -> None:
        self.eps = eps
        self.min_samples = min_samples
        self.tol = tol
        self.graph_builder = PairGraphBuilder(metric, tol=tol, **sizes)  # type: ignore[arg-type]
        self.relaxed = 0.0

    def reach(self, radius: float) -> float:
        """How far the graph must reach for labels at ``radius``: relaxed links ask for distances beyond it."""
        return radius if self.links is None else radius * max(1.0, abs(self.relaxed))

    def labels_at(self, graph: PairGraph, eps: float) -> tuple[Tensor, Tensor | None]:
        """Labels int64 (N,) at a radius, and core bool (N,), or None with cannot-links, where members count alike."""
        if self.links is None:
            return dbscan(graph, eps, self.min_samples, self.tol)
        check_links(self.links, graph.n)
        labels = grow_apart(graph.to("cpu"), eps, self.links, self.min_samples, relaxed=self.relaxed, tol=self.tol)
        return torch.from_numpy(labels).to(graph.dist.device), None


@CLUSTERERS.register("DBSCAN")
class DBSCAN(DensityClusterer):
    """DBSCAN with a fixed eps, or with one fixed in the first round from the smallest distances (AuxUSL).

    Args:
        eps, min_samples, density: see :class:`DensityClusterer`.
        adaptive: replace ``eps`` in the first round by :func:`~unreid.clustering.adaptive_eps.adaptive_eps`.
        rho: of the adaptive eps.
    """

    def __init__(
        self, eps: float = 0.6, min_samples: int = 4, *, adaptive: bool = False, rho: float = 1.6e-3, **density: Any
    ) -> None:
        super().__init__(eps, min_samples, **density)
        self.adaptive = adaptive
        self.rho = rho
        self.fixed: float | None = None

    @classmethod
    def from_config(cls, cfg: Any) -> DBSCAN:
        node = cfg.CLUSTER
        clusterer = cls(node.EPS, node.MIN_SAMPLES, adaptive=node.ADAPTIVE, rho=node.RHO)
        clusterer.relaxed = node.ICDBSCAN_RELAXED
        return clusterer

    @property
    def radius(self) -> float:
        """The eps in use; every distance below 1 while an adaptive one is not known yet."""
        if not self.adaptive:
            return self.reach(self.eps)
        return MAX_RADIUS if self.fixed is None else self.fixed

    @property
    def _known_eps(self) -> float:
        """How far a graph must reach in any case: an adaptive eps that is not fixed yet comes from the graph itself."""
        return self.eps if not self.adaptive else self.fixed or 0.0

    def current_eps(self, graph: PairGraph) -> float:
        """The eps of this round; fixes an adaptive one."""
        if not self.adaptive:
            return self.eps
        if self.fixed is None:
            self.fixed = min(adaptive_eps(graph, rho=self.rho), graph.radius)
        return self.fixed

    def _cluster(self, features: Tensor, graph: PairGraph | None, turn: Turn) -> Clustering:
        graph = needed_graph(self, graph, self._known_eps)
        eps = self.current_eps(graph)
        labels, core = self.labels_at(graph, eps)
        count = int(labels.max()) + 1 if len(labels) else 0
        return Clustering(labels.cpu(), count, core=None if core is None else core.cpu(), eps=eps)

    def state_dict(self) -> dict[str, Any]:
        return {"eps": self.fixed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.fixed = entries(state, "the state of DBSCAN", {"eps": (float, type(None))}, {"links": object})["eps"]
        if self.fixed is not None and not 0 <= self.fixed <= MAX_RADIUS:
            raise StateError(f"'eps' of the state of DBSCAN is {self.fixed}")
