"""The cluster-growing loop of DBSCAN with cannot-links (ICDBSCAN of AuxUSLReID), in O(edges)."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np

from unreid.constraints.links import Links
from unreid.structures import PairGraph
from unreid.utils.errors import UserError

LinksOf = Callable[[int], np.ndarray]
"""Sample -> positions of the samples it must not share a cluster with."""


def grow_apart(
    graph: PairGraph, eps: float, links: Links, min_samples: int, *, relaxed: float = 0.0, tol: float = 1e-6
) -> np.ndarray:
    """int64 (N,) labels of DBSCAN without a cannot-link inside a cluster, -1 for noise; see :class:`ConstrainedGrowth`.

    Args:
        graph: pairs up to at least ``eps``, on CPU.
        links: of N samples; not changed.
        relaxed: which of them are forgotten, see :func:`relax`.
        tol: added to eps.
    """
    start, index = neighbour_lists(graph, eps + tol)
    kept = relax(links, graph, eps, relaxed, tol)
    bounds, flat = kept.start.tolist(), kept.index

    def links_of(sample: int) -> np.ndarray:
        return flat[bounds[sample] : bounds[sample + 1]]

    return ConstrainedGrowth(start, index, links_of, min_samples).run()


def neighbour_lists(graph: PairGraph, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """CSR lists (start, index) of the neighbours within ``radius``, every sample in its own list, ascending."""
    near = (graph.dist <= radius).numpy()
    i, j = graph.i.numpy()[near], graph.j.numpy()[near]
    own = np.arange(graph.n, dtype=np.int64)
    lists = Links.from_pairs(np.concatenate((i, j, own)), np.concatenate((j, i, own)), (graph.n, graph.n))
    return lists.start, lists.index


def relax(links: Links, graph: PairGraph, eps: float, relaxed: float, tol: float = 0.0) -> Links:
    """The links without those that ``relaxed`` forgets and without links of a sample to itself; a fresh copy.

    Pairs that the graph does not hold are farther than any limit in use.
    """
    limit = eps * abs(relaxed)
    if limit > graph.radius:
        raise UserError(
            f"CLUSTER.ICDBSCAN_RELAXED {relaxed} asks for pairs up to {limit:.3f}, beyond the largest distance "
            f"{graph.radius:.3f} of the pair graph: choose a value closer to 0."
        )
    rows, count = links.rows(), links.height
    near = (graph.dist <= limit + tol).numpy()
    i, j = graph.i.numpy()[near], graph.j.numpy()[near]
    codes = np.minimum(rows, links.index) * count + np.maximum(rows, links.index)
    within = np.isin(codes, i * count + j)
    keep = (within if relaxed < 0 else ~within) & (rows != links.index)
    return Links.from_pairs(rows[keep], links.index[keep], (count, count))


class ConstrainedGrowth:
    """Grows clusters from the samples in ascending order.

    A new cluster starts from an unassigned sample p, with ``p`` pending and p's cannot-links forbidden. Of the pending
    samples the lowest one, q, is expanded: its neighbours without q's cannot-links and without what is forbidden are
    candidates. With at least ``min_samples`` of them, every unassigned candidate that is not forbidden by then joins
    in ascending order, becomes pending, and its cannot-links become forbidden too. A cluster that ends below
    ``min_samples`` members releases them all.

    Args:
        start, index: neighbour lists in CSR form, int64 (N + 1,) and (E,); ascending, every sample in its own list.
        links: cannot-links of a sample.
        min_samples: candidates that make a core point; members of the smallest cluster.
    """

    def __init__(self, start: np.ndarray, index: np.ndarray, links: LinksOf, min_samples: int) -> None:
        self.start, self.index = start, index
        self.links = links
        self.min_samples = min_samples
        count = len(start) - 1
        self.labels = np.full(count, -1, dtype=np.int64)
        self._forbidden = np.zeros(count, dtype=bool)
        self._own = np.zeros(count, dtype=bool)

    def run(self, finished: Callable[[int, np.ndarray], None] | None = None) -> np.ndarray:
        """int64 (N,) labels, -1 for noise.

        Args:
            finished: called with the first sample of every cluster, also a released one, and all that was forbidden.
        """
        number = 0
        for seed in range(len(self.labels)):
            if self.labels[seed] != -1:
                continue
            members, touched = self._grow(seed, number)
            if finished is not None:
                finished(seed, np.unique(np.concatenate(touched)))
            for links in touched:
                self._forbidden[links] = False
            if len(members) < self.min_samples:
                self.labels[members] = -1
            else:
                number += 1
        return self.labels

    def _grow(self, seed: int, number: int) -> tuple[list[int], list[np.ndarray]]:
        """Members of the cluster of ``seed``, and the lists of what it made forbidden (still marked)."""
        labels, forbidden = self.labels, self._forbidden
        labels[seed] = number
        members, pending = [seed], [seed]
        touched = [self.links(seed)]
        forbidden[touched[0]] = True
        while pending:
            candidates = self._candidates(heapq.heappop(pending))
            if len(candidates) < self.min_samples:
                continue
            for joining in candidates[labels[candidates] == -1].tolist():
                if forbidden[joining]:
                    continue
                labels[joining] = number
                members.append(joining)
                heapq.heappush(pending, joining)
                links = self.links(joining)
                if len(links):
                    forbidden[links] = True
                    touched.append(links)
        return members, touched

    def _candidates(self, sample: int) -> np.ndarray:
        neighbours = self.index[self.start[sample] : self.start[sample + 1]]
        if len(neighbours) < self.min_samples:
            return neighbours
        links = self.links(sample)
        self._own[links] = True
        candidates = neighbours[~(self._own[neighbours] | self._forbidden[neighbours])]
        self._own[links] = False
        return candidates
