"""The cluster-growing loop of DBSCAN with cannot-links (ICDBSCAN of AuxUSLReID), in O(edges)."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np

Links = Callable[[int], np.ndarray]
"""Sample -> positions of the samples it must not share a cluster with."""


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

    def __init__(self, start: np.ndarray, index: np.ndarray, links: Links, min_samples: int) -> None:
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
