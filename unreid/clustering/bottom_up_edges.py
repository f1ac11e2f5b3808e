"""The lightest edges between clusters, kept small: minimum spanning forests under a strict order.

One merge of BUC is Kruskal's algorithm stopped after m unions: pairs are visited in ascending weight, and a pair whose
clusters are already united has no effect. So only the first m edges of the minimum spanning forest matter, in the
strict order (weight, i, j). Two facts allow to find them without ever holding all pairs:

* the forest of all edges is the forest of (the forest of some edges, plus the others): an edge that closes a cycle of
  earlier ones is never needed again;
* the m-th forest edge of any subset of the edges bounds the m-th of all of them: nothing beyond it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Edges:
    """Weighted pairs of nodes, on the host.

    Attributes:
        weight: float32 (E,).
        i, j: int64 (E,), i < j.
    """

    weight: np.ndarray
    i: np.ndarray
    j: np.ndarray

    def __len__(self) -> int:
        return len(self.weight)

    def __getitem__(self, index: np.ndarray | slice) -> Edges:
        return Edges(self.weight[index], self.i[index], self.j[index])

    @classmethod
    def none(cls) -> Edges:
        """No edge."""
        return cls(np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.int64))

    def joined(self, other: Edges) -> Edges:
        """The edges of both."""
        pairs = ((self.weight, other.weight), (self.i, other.i), (self.j, other.j))
        return Edges(*(np.concatenate(pair) for pair in pairs))


def forest(edges: Edges, cluster: np.ndarray) -> Edges:
    """The minimum spanning forest of the clusters under the order (weight, i, j), in that order.

    Args:
        edges: between nodes 0..N-1; edges inside a cluster are dropped.
        cluster: int64 (N,), cluster 0..C-1 of each node.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    order = np.lexsort((edges.i * len(cluster) + edges.j, edges.weight))
    a, b = cluster[edges.i[order]], cluster[edges.j[order]]
    low, high, count = np.minimum(a, b), np.maximum(a, b), int(cluster.max()) + 1
    _, first = np.unique(low * count + high, return_index=True)  # the first of parallel edges is the lightest
    first = np.sort(first[low[first] != high[first]])
    rank = np.arange(1, len(first) + 1, dtype=np.float64)  # distinct, and never the 0 that scipy takes for "no edge"
    tree = minimum_spanning_tree(csr_array((rank, (low[first], high[first])), shape=(count, count)))
    return edges[order[first[np.sort(tree.data.astype(np.int64)) - 1]]]


class ForestPool:
    """Takes edges in portions and remembers the first ``count`` edges of their minimum spanning forest.

    Args:
        cluster: int64 (N,), cluster 0..C-1 of each node.
        count: edges wanted, m.
        capacity: edges held before the pool is reduced to its forest.
    """

    def __init__(self, cluster: np.ndarray, count: int, capacity: int) -> None:
        self._cluster = cluster
        self._count = count
        self._capacity = max(capacity, count)
        self._edges = Edges.none()
        self.bound = np.inf  # no edge of more weight can be among the wanted ones

    def add(self, edges: Edges) -> None:
        """Takes more edges; those beyond ``bound`` are ignored."""
        self._edges = self._edges.joined(edges[edges.weight <= self.bound])
        if len(self._edges) > self._capacity or self.bound == np.inf:
            self._reduce()

    def lightest(self) -> Edges:
        """The first ``count`` edges of the forest of everything added, in order (all of them, if there are fewer)."""
        self._reduce()
        return self._edges

    def _reduce(self) -> None:
        self._edges = forest(self._edges, self._cluster)[: self._count]
        if len(self._edges) == self._count:
            self.bound = float(self._edges.weight[-1])
