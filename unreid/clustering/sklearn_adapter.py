"""Any clusterer of scikit-learn by name: ``CLUSTER.NAME sklearn/HDBSCAN``, its arguments in ``CLUSTER.SKLEARN``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from unreid.clustering.base import Clusterer, Turn, needed_graph
from unreid.structures import Clustering, PairGraph
from unreid.utils.arrays import as_rows
from unreid.utils.errors import UserError
from unreid.utils.estimators import PREFIX, accepted_arguments, estimator, parse_arguments

INPUTS = ("auto", "features", "graph", "connectivity")
_NEAREST = 1e-6  # below it distances are rounding; HDBSCAN loses links of length 0 and then its way
_FARTHEST = 1.0  # distance of links between components: that of Jaccard pairs which share no neighbour


class SklearnClusterer(Clusterer):
    """Runs an estimator of ``sklearn.cluster`` and takes its ``labels_``; negative ones are outliers.

    What it is given:

    - "features": the rows (N, D).
    - "graph": the pair graph as a sparse precomputed distance matrix (DBSCAN, HDBSCAN, OPTICS). The latter two accept
      no sample with too few neighbours, and HDBSCAN connected graphs only: such samples become outliers, and
      components are joined by links of distance 1, at which it separates them again.
    - "connectivity": the rows, merged along the pairs of the graph only (AgglomerativeClustering).
    - "auto": the first of "graph", "connectivity" and "features" that the estimator takes.

    Args:
        name: class in ``sklearn.cluster``, e.g. "HDBSCAN".
        eps: how far the graph reaches; also the estimator's ``eps`` where it has one and ``arguments`` give none.
        input: see above.

    Raises:
        UserError: there is no such clusterer, or it does not take an argument or the input; or (of ``cluster``) it
            refuses its input, which the sentence quotes.
    """

    def __init__(
        self, name: str, arguments: dict[str, Any] | None = None, *, eps: float = 0.6, input: str = "auto"
    ) -> None:
        self.kind = estimator(name)
        self.eps = eps
        self.arguments = dict(arguments or {})
        self._takes = accepted_arguments(self.kind, self.arguments)
        self.input = self._input(input, self._takes)
        if "eps" in self._takes:
            self.arguments.setdefault("eps", eps)

    @classmethod
    def from_config(cls, cfg: Any) -> SklearnClusterer:
        return cls.named(cfg.CLUSTER.NAME, cfg)

    @classmethod
    def named(cls, name: str, cfg: Any) -> SklearnClusterer:
        """The same for a name other than ``CLUSTER.NAME`` (the warm-up's)."""
        node = cfg.CLUSTER
        return cls(
            name.removeprefix(PREFIX), parse_arguments(node.SKLEARN.ARGUMENTS), eps=node.EPS, input=node.SKLEARN.INPUT
        )

    @property
    def radius(self) -> float | None:
        return None if self.input == "features" else self.eps

    def _cluster(self, features: Tensor, graph: PairGraph | None, turn: Turn) -> Clustering:
        arguments = dict(self.arguments)
        if "random_state" in self._takes:
            state = np.random.SeedSequence([turn.seed, turn.round]).generate_state(1)[0]
            arguments.setdefault("random_state", int(state % 2**31))
        if "copy" in self._takes:
            arguments.setdefault("copy", True)  # what it reads may be the method's own memory
        if self.input == "connectivity":
            links = _connected(needed_graph(self, graph).to_scipy())
            links.data[:] = 1  # pairs at distance 0 are links too
            arguments["connectivity"] = links
        given = needed_graph(self, graph) if self.input == "graph" else as_rows(features)
        try:
            if isinstance(given, PairGraph):
                labels = self._from_graph(given, arguments)
            else:
                labels = self.kind(**arguments).fit(given.detach().float().cpu().numpy()).labels_
        except (ValueError, TypeError) as error:
            raise UserError(f"{self.kind.__name__} of scikit-learn refuses: {str(error).splitlines()[0]}") from error
        labels = np.maximum(np.asarray(labels, dtype=np.int64), -1)
        return Clustering.from_labels(torch.from_numpy(labels))

    def _from_graph(self, graph: PairGraph, arguments: dict[str, Any]) -> np.ndarray:
        matrix = graph.to_scipy()
        arguments.setdefault("metric", "precomputed")
        if self.kind.__name__ not in ("HDBSCAN", "OPTICS"):
            return self.kind(**arguments).fit(matrix).labels_
        wanted = arguments.get("min_samples") or arguments.get("min_cluster_size") or 5
        kept = _with_neighbours(matrix, wanted)
        labels = np.full(graph.n, -1, dtype=np.int64)
        if len(kept) > wanted:
            part = matrix[kept][:, kept]
            if self.kind.__name__ == "HDBSCAN":
                part = _connected(part)
                part.data = np.maximum(part.data, _NEAREST)
            labels[kept] = self.kind(**arguments).fit(part).labels_
        return labels

    def _input(self, wanted: str, accepted: set[str]) -> str:
        if wanted not in INPUTS:
            raise UserError(f"CLUSTER.SKLEARN.INPUT must be one of {', '.join(INPUTS)}, not {wanted!r}.")
        can = {
            "graph": "metric" in accepted and "connectivity" not in accepted,
            "connectivity": "connectivity" in accepted,
            "features": True,
        }
        if wanted == "auto":
            return next(name for name in ("graph", "connectivity", "features") if can[name])
        if not can[wanted]:
            raise UserError(f"{self.kind.__name__} of scikit-learn takes no {wanted}: set CLUSTER.SKLEARN.INPUT auto.")
        return wanted


def _with_neighbours(matrix: Any, wanted: int) -> np.ndarray:
    """Samples that keep ``wanted`` stored neighbours (self included) when those with fewer are left out."""
    kept = np.arange(matrix.shape[0])
    while len(kept):
        degree = np.diff(matrix[kept][:, kept].indptr)
        if (degree >= wanted).all():
            break
        kept = kept[degree >= wanted]
    return kept


def _connected(matrix: Any) -> Any:
    """The matrix with a chain of farthest links between its components."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count, component = connected_components(matrix, directed=False)
    first = np.unique(component, return_index=True)[1]
    one, other = first[:-1], first[1:]
    coo = matrix.tocoo()
    rows, columns = np.concatenate([coo.row, one, other]), np.concatenate([coo.col, other, one])
    far = np.full(2 * (count - 1), max(_FARTHEST, float(coo.data.max(initial=0.0))), dtype=coo.data.dtype)
    return coo_array((np.concatenate([coo.data, far]), (rows, columns)), shape=matrix.shape).tocsr()
