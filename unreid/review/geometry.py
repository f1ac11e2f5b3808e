"""How doubtful clusters are, and which of them may be one identity, kept up to date while clusters change.

Three faults are looked for, without labels.

- Two clusters are one identity: their crops are among each other's nearest neighbours, and they come from different
  cameras, which is what keeps an identity apart. ``edges / (k * smaller size) * (1.1 - shared cameras) / 1.1``.
- One cluster is two identities: it is large and wide, and its two halves (2-means) were both seen by the same cameras,
  where the halves of one identity are its looks in different cameras. ``width / average width * log(size) /
  log(average size) * (shared views + 0.2) / 1.2``.
- A crop belongs to another cluster: more of its nearest neighbours are there. The difference of the two shares.

On the rendered world mean distances, such as the ratio of Davies and Bouldin, say next to nothing about either: there a
cluster is as wide as identities are apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from unreid.review.neighbours import near_lists
from unreid.review.shapes import Shape, backwards, best_label, distance

SUGGESTED = 10  # clusters kept as neighbours of a cluster
PRIOR = 2.0  # members of average width that every cluster is given, so that a small one is not sure
WIDE = 0.35  # taken off, so that half of the answers are yes where the doubt of a merge is as high
_ROWS = 16384  # crops whose neighbours are looked at at once


class Geometry:
    """Neighbours, halves and doubts of the clusters of N crops.

    Args:
        features: float32 (N, D), normalised here.
        labels: int64 (N,), negative: in no cluster.
        cameras: int64 (N,), or None: not known.
        judged: crop -> crops that a person has compared it with; what they were found to be stands in the labels. It
            is read again whenever a cluster is looked at.
        kept: file of the nearest neighbours, see :func:`~unreid.review.neighbours.near_lists`.

    Attributes:
        rows: float32 (N, D), unit length.
        members: identity -> int64 positions, ascending; every identity has at least one.
    """

    def __init__(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        cameras: np.ndarray | None = None,
        judged: Mapping[int, Sequence[int]] | None = None,
        kept: Path | None = None,
    ) -> None:
        rows = np.asarray(features, dtype=np.float32)
        self.rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        self.labels = labels
        self.cameras = cameras
        self.judged = {} if judged is None else judged
        self._near = near_lists(self.rows, kept)
        self._back, self._start = backwards(self._near)
        order = np.argsort(labels, kind="stable")
        values, first = np.unique(labels[order], return_index=True)
        parts = np.split(order, first[1:])
        self.members = {int(value): part for value, part in zip(values, parts) if value >= 0}
        self._shapes: dict[int, Shape] = {}
        self._strange = np.zeros(len(self.rows), dtype=np.float32)  # doubt of every crop
        self._better = np.full(len(self.rows), -1, dtype=np.int64)  # and the cluster it may belong to
        for identity in self.members:
            self._measure(identity)
        self._width = sum(shape.width for shape in self._shapes.values()) / max(sum(map(len, self.members.values())), 1)
        self._size = sum(map(len, self.members.values())) / max(len(self.members), 1)
        for identity in self.members:
            self._look_around(identity)
        for start in range(0, len(self.rows), _ROWS):
            self._look_at(np.arange(start, min(start + _ROWS, len(self.rows))))

    # ------------------------------------------------------------------------------------------- questions

    def doubt(self, identity: int) -> float:
        """Of a cluster, in [0, 1]: that it is only a part of an identity, or more than one, or holds a stranger."""
        misfit = float(self._strange[self.members[identity]].max(initial=0.0))
        return max(self.part_doubt(identity), self.split_doubt(identity), misfit)

    def part_doubt(self, identity: int) -> float:
        """That the most likely neighbour is the same identity; 0 without one."""
        found = self._shapes[identity].found
        return found[0][1] if found else 0.0

    def split_doubt(self, identity: int) -> float:
        """That the cluster is two identities; 0 where a person has judged its halves."""
        size, shape = len(self.members[identity]), self._shapes[identity]
        if size < 4 or shape.settled:
            return 0.0
        width = (shape.width + PRIOR * self._width) / (size + PRIOR) / max(self._width, 1e-6)
        large = math.log(size) / math.log(max(self._size, 2.0))
        return float(np.clip(width * large * (shape.shared + 0.2) / 1.2 - WIDE, 0.0, 1.0))

    def neighbours(self, identity: int) -> list[tuple[int, float]]:
        """(identity, doubt) of the clusters that may be this one, the most likely first; at most 10."""
        return self._shapes[identity].found

    def halves(self, identity: int) -> np.ndarray:
        """float32 (M,): on which side of the cluster a member lies: below 0 in the smaller half, by how much."""
        return self._shapes[identity].halves

    def medoid(self, crops: np.ndarray) -> int:
        """The crop nearest to the mean of some crops."""
        rows = self.rows[crops]
        return int(crops[(rows @ rows.mean(axis=0)).argmax()])

    def misfits(self, identity: int) -> tuple[np.ndarray, np.ndarray]:
        """Doubt of every member, float32 (M,) in [0, 1], and the cluster that it may belong to, int64 (M,), -1: none.

        Members that a person has compared with any crop have no doubt.
        """
        crops = self.members[identity]
        return self._strange[crops], self._better[crops]

    def confidence(self, identity: int) -> np.ndarray:
        """float32 (M,) in [0, 1]: how much nearer a member is to the others of its cluster than to the next cluster.

        ``max(0, 1 - a / b)`` of the distances to the two means; the member's own share is taken out.
        """
        crops = self.members[identity]
        rows = self.rows[crops]
        others = [other for other, _ in self.nearest(crops, identity)]
        if len(crops) == 1 or not others:
            return np.zeros(len(crops), dtype=np.float32)
        own = distance(rows, self._shapes[identity].mean[None])[:, 0] * (len(crops) / (len(crops) - 1))
        theirs = distance(rows, np.stack([self._shapes[other].mean for other in others])).min(axis=1)
        return np.maximum(0, 1 - own / np.maximum(theirs, 1e-6)).astype(np.float32)

    def nearest(self, crops: np.ndarray, besides: int | None = None) -> list[tuple[int, float]]:
        """(identity, share of the nearest neighbours in it) of the clusters that some crops may belong to, but for one.

        Where neighbours name fewer than ten clusters, those with the nearest means follow.
        """
        found = self.labels[self._near[crops]].ravel()
        values, counts = np.unique(found[found >= 0], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        shares = {int(values[place]): float(counts[place] / len(found)) for place in order}
        shares.pop(-1 if besides is None else besides, None)
        best = list(shares.items())[:SUGGESTED]
        more = [identity for identity in self._shapes if identity != besides and identity not in shares]
        if len(best) < SUGGESTED and more:
            means = np.stack([self._shapes[identity].mean for identity in more])
            far = distance(self.rows[crops].mean(axis=0, keepdims=True), means)[0]
            best += [(more[place], 0.0) for place in np.argsort(far, kind="stable")[: SUGGESTED - len(best)]]
        return best

    def closeness(self, crops: np.ndarray) -> np.ndarray:
        """float32 (M,): share of every crop's nearest neighbours that lies in the cluster with most of them."""
        return best_label(self.labels[self._near[crops]])[0]

    # --------------------------------------------------------------------------------------------- changes

    def update(self, touched: Iterable[int], crops: np.ndarray) -> set[int]:
        """Follows a change of ``labels``, the array that was given.

        Args:
            touched: identities that gained or lost members, or about which something was said.
            crops: int64, those whose label changed, or that were judged.

        Returns:
            identities whose doubt, size or neighbours may have changed; those that are gone are not among them.
        """
        touched = {identity for identity in touched if identity >= 0}
        around = {other for identity in touched & self._shapes.keys() for other, _ in self._shapes[identity].found}
        # Lists are cut off at ten: a cluster may name another that does not name it.
        around |= {other for other, shape in self._shapes.items() if any(one in touched for one, _ in shape.found)}
        for identity in touched:
            members = np.flatnonzero(self.labels == identity)
            if len(members):
                self.members[identity] = members
                self._measure(identity)
            else:
                self.members.pop(identity, None)
                self._shapes.pop(identity, None)
        again = touched & self.members.keys()
        found = {identity: self._look_around(identity) for identity in sorted(again)}
        for other in around - touched:  # who was a neighbour and is none any more
            if any(one in touched and other not in found.get(one, ()) for one, _ in self._shapes[other].found):
                self._look_around(other)
        for identity, values in found.items():
            around |= values.keys()
            for other, value in values.items():  # a doubt is that of both
                if other not in again:
                    self._replace(other, identity, value)
        stale = [crops, *(self.members[identity] for identity in again)]
        stale += [self._back[self._start[crop] : self._start[crop + 1]] for crop in crops.tolist()]
        seen = np.unique(np.concatenate(stale))
        self._look_at(seen)
        labels = np.unique(self.labels[seen])
        return again | (around & self.members.keys()) | set(labels[labels >= 0].tolist())

    def _replace(self, identity: int, other: int, value: float) -> None:
        """Puts a new doubt into the list of a cluster that did not change itself."""
        before = self._shapes[identity].found
        kept = [pair for pair in before if pair[0] != other]
        if len(before) == SUGGESTED and len(kept) < SUGGESTED and value <= before[-1][1]:
            self._look_around(identity)  # one that was left out may come before it now
            return
        if value > 0:
            kept.append((other, value))
        kept.sort(key=lambda pair: (-pair[1], pair[0]))
        self._shapes[identity].found = kept[:SUGGESTED]

    def _measure(self, identity: int) -> None:
        crops = self.members[identity]
        self._shapes[identity] = Shape.of(self.rows[crops], None if self.cameras is None else self.cameras[crops])

    def _edges(self, identity: int) -> tuple[np.ndarray, np.ndarray]:
        """Identities whose crops are among the nearest of this cluster's, or the other way round, and how often."""
        crops = self.members[identity]
        back = [self._back[self._start[crop] : self._start[crop + 1]] for crop in crops.tolist()]
        found = self.labels[np.concatenate((self._near[crops].ravel(), *back))]
        values, counts = np.unique(found, return_counts=True)
        other = (values >= 0) & (values != identity)
        return values[other], counts[other]

    def _look_around(self, identity: int) -> dict[int, float]:
        """Measures the doubts about a cluster and its neighbours, and returns those of all of them; 0: judged."""
        crops, shape = self.members[identity], self._shapes[identity]
        values, counts = self._edges(identity)
        compared = self._compared(crops)
        known = {int(self.labels[other]) for _, other in compared}
        k = max(self._near.shape[1], 1)
        found = {}
        for other, count in zip(values.tolist(), counts.tolist()):
            share = min(1.0, count / (k * min(len(crops), len(self.members[other]))))
            found[other] = 0.0 if other in known else share * self._apart(identity, other)
        ordered = sorted((pair for pair in found.items() if pair[1] > 0), key=lambda pair: (-pair[1], pair[0]))
        shape.found = ordered[:SUGGESTED]
        smaller = set(crops[shape.halves < 0].tolist()) if compared else set()
        shape.settled = any(
            (crop in smaller) != (other in smaller) for crop, other in compared if self.labels[other] == identity
        )
        return found

    def _look_at(self, crops: np.ndarray) -> None:
        """Measures the doubts about single crops."""
        home = self.labels[crops]
        near = self.labels[self._near[crops]]
        inside = near == home[:, None]
        share, best = best_label(np.where(inside, -1, near))
        size = np.bincount(np.maximum(self.labels, 0), self.labels >= 0)[np.maximum(home, 0)]
        own = inside.sum(axis=1) / np.clip(size - 1, 1, max(self._near.shape[1], 1))
        doubt = np.clip(share - own, 0.0, 1.0).astype(np.float32)
        doubt[(home < 0) | np.array([crop in self.judged for crop in crops.tolist()], dtype=bool)] = 0
        self._strange[crops] = doubt
        self._better[crops] = np.where(doubt > 0, best, -1)

    def _compared(self, crops: np.ndarray) -> list[tuple[int, int]]:
        """Judged pairs with a first crop among some."""
        if not self.judged:
            return []
        return [(crop, other) for crop in crops.tolist() for other in self.judged.get(crop, ())]

    def _apart(self, one: int, other: int) -> float:
        """In (0, 1]: 1 for clusters of different cameras, or where no camera is known."""
        if self.cameras is None:
            return 1.0
        a, b = self._shapes[one].views, self._shapes[other].views
        shared = len(a & b) / min(len(a), len(b))
        return (1.1 - shared) / 1.1
