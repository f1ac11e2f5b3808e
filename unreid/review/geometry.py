"""How doubtful clusters are and which of them may be one identity, kept up to date while clusters change.

The doubt of a pair is the ratio of Davies and Bouldin (IEEE TPAMI 1979, eq. 5), ``(S_A + S_B) / d_AB``: two clusters
that are wide for their distance may be one. No labels are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from unreid.constraints.review_file import UNASSIGNED

NEIGHBOURS = 10  # kept for every cluster
PRIOR = 2.0  # members of average spread that every cluster is given, so that one of a single crop is not sure
_ROWS = 1024  # of a matrix of clusters that are computed at once

Excluded = Callable[[int, np.ndarray], set[int]]
"""Identity and its members -> identities that it is known not to be."""


class Geometry:
    """Means, spreads and nearest clusters of N crops.

    Args:
        features: float32 (N, D), normalised here.
        labels: int64 (N,), negative: in no cluster.
        excluded: see :data:`Excluded`; asked whenever the neighbours of a cluster are looked for.

    Attributes:
        rows: float32 (N, D), unit length.
        members: identity -> int64 positions, ascending; every identity has at least one.
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray, excluded: Excluded | None = None) -> None:
        rows = np.asarray(features, dtype=np.float32)
        self.rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        self.excluded = excluded or (lambda identity, members: set())
        self.members = _members(labels)
        count = len(self.members)
        self._ids = np.array(list(self.members), dtype=np.int64)
        self._slot = {identity: slot for slot, identity in enumerate(self.members)}
        self._means = np.zeros((count, self.rows.shape[1]), dtype=np.float32)
        self._widths = np.zeros(count, dtype=np.float32)  # sum of the members' distances to the mean
        self._sizes = np.zeros(count, dtype=np.int64)  # 0: the slot is free
        for identity in self.members:
            self._measure(identity)
        self._near = np.full((count, NEIGHBOURS), -1, dtype=np.int64)  # slots
        self._ratio = np.zeros((count, NEIGHBOURS), dtype=np.float32)
        self._look_around(np.arange(count))

    # ------------------------------------------------------------------------------------------- questions

    def doubt(self, identity: int) -> float:
        """Of a cluster: the ratio with its most doubtful neighbour; 0 without one."""
        return float(self._ratio[self._slot[identity], 0])

    def neighbours(self, identity: int) -> list[tuple[int, float]]:
        """(identity, ratio) of the clusters that may be this one, the most doubtful first; at most 10."""
        slot = self._slot[identity]
        near = self._near[slot]
        return [(int(self._ids[other]), float(ratio)) for other, ratio in zip(near, self._ratio[slot]) if other >= 0]

    def medoid(self, crops: np.ndarray) -> int:
        """The crop nearest to the mean of some crops."""
        rows = self.rows[crops]
        return int(crops[(rows @ rows.mean(axis=0)).argmax()])

    def oddness(self, identity: int) -> np.ndarray:
        """float32 (M,): how much nearer a member is to another cluster than to the others of its own; above 1: it is.

        The ratio of the two distances; the member's own share in its mean is taken out.
        """
        crops = self.members[identity]
        slot = self._slot[identity]
        rows = self.rows[crops]
        if len(crops) == 1:
            return np.zeros(1, dtype=np.float32)
        own = _distance(rows, self._means[[slot]])[:, 0] * (len(crops) / (len(crops) - 1))
        near = self._near[slot]
        near = near[near >= 0]
        if not len(near):
            return own / max(float(own.max()), 1e-6)
        return own / np.maximum(_distance(rows, self._means[near]).min(axis=1), 1e-6)

    def nearest(self, crops: np.ndarray, besides: int | None = None) -> list[tuple[int, float]]:
        """(identity, distance) of the clusters nearest to the mean of some crops, but for one."""
        used = np.flatnonzero(self._sizes)
        if besides in self._slot:
            used = used[used != self._slot[besides]]
        distance = _distance(self.rows[crops].mean(axis=0, keepdims=True), self._means[used])[0]
        order = np.argsort(distance, kind="stable")[:NEIGHBOURS]
        return [(int(self._ids[used[place]]), float(distance[place])) for place in order]

    def closeness(self, crops: np.ndarray) -> np.ndarray:
        """float32 (M,): distance of every crop to the nearest mean of a cluster."""
        used = np.flatnonzero(self._sizes)
        if not len(used):
            return np.zeros(len(crops), dtype=np.float32)
        parts = [
            _distance(self.rows[crops[start : start + _ROWS]], self._means[used]).min(axis=1)
            for start in range(0, len(crops), _ROWS)
        ]
        return np.concatenate([np.zeros(0, dtype=np.float32), *parts])

    # --------------------------------------------------------------------------------------------- changes

    def update(self, labels: np.ndarray, touched: Iterable[int]) -> set[int]:
        """Follows a change of labels.

        Args:
            labels: int64 (N,), the new ones.
            touched: identities that gained or lost members, or about which something was said.

        Returns:
            identities whose doubt, size or neighbours may have changed; those that are gone are not among them.
        """
        changed = []
        for identity in sorted(set(touched)):
            if identity <= UNASSIGNED:
                continue
            crops = np.flatnonzero(labels == identity)
            slot = self._slot.get(identity)
            if slot is None:
                if not len(crops):
                    continue
                slot = self._new_slot(identity)
            changed.append(slot)
            if len(crops):
                self.members[identity] = crops
                self._measure(identity)
            else:
                del self.members[identity], self._slot[identity]
                self._sizes[slot] = 0
        if not changed:
            return set()
        slots = np.array(changed)
        stale = np.any(np.isin(self._near, slots), axis=1, keepdims=True)[:, 0]
        ratios = self._ratios(slots[self._sizes[slots] > 0])
        if len(ratios):
            stale |= (ratios > self._ratio[:, -1]).any(axis=0)
        stale[slots] = True
        stale &= self._sizes > 0
        again = np.flatnonzero(stale)
        self._look_around(again)
        return {int(identity) for identity in self._ids[again]}

    def _new_slot(self, identity: int) -> int:
        free = np.flatnonzero(self._sizes == 0)
        free = free[~np.isin(free, list(self._slot.values()))]
        if len(free):
            slot = int(free[0])
        else:
            slot = len(self._sizes)
            grown = max(64, slot // 8)
            self._ids = np.concatenate((self._ids, np.full(grown, -1, dtype=np.int64)))
            for name in ("_means", "_widths", "_sizes", "_ratio", "_near"):
                array = getattr(self, name)
                more = np.full((grown, *array.shape[1:]), -1 if name == "_near" else 0, dtype=array.dtype)
                setattr(self, name, np.concatenate((array, more)))
        self._ids[slot], self._slot[identity] = identity, slot
        return slot

    def _measure(self, identity: int) -> None:
        slot = self._slot[identity]
        rows = self.rows[self.members[identity]]
        self._means[slot] = rows.mean(axis=0)
        self._widths[slot] = _distance(rows, self._means[[slot]]).sum()
        self._sizes[slot] = len(rows)

    def _spread(self) -> np.ndarray:
        average = self._widths.sum() / max(int(self._sizes.sum()), 1)
        return (self._widths + PRIOR * average) / (self._sizes + PRIOR)

    def _ratios(self, slots: np.ndarray) -> np.ndarray:
        """float32 (len(slots), slots in all): 0 for free slots and for a cluster with itself."""
        spread = self._spread()
        ratios = (spread[slots, None] + spread[None]) / np.maximum(_distance(self._means[slots], self._means), 1e-6)
        ratios[:, self._sizes == 0] = 0
        ratios[np.arange(len(slots)), slots] = 0
        return ratios

    def _look_around(self, slots: np.ndarray) -> None:
        count = min(NEIGHBOURS, max(len(self._sizes) - 1, 0))
        self._near[slots], self._ratio[slots] = -1, 0
        if not count:
            return
        for start in range(0, len(slots), _ROWS):
            some = slots[start : start + _ROWS]
            ratios = self._ratios(some)
            for row, slot in enumerate(some):
                identity = int(self._ids[slot])
                others = self.excluded(identity, self.members[identity])
                known = [self._slot[other] for other in others if other in self._slot]
                ratios[row, known] = 0
            best = np.argpartition(-ratios, count - 1, axis=1)[:, :count]
            value = np.take_along_axis(ratios, best, axis=1)
            order = np.argsort(-value, axis=1, kind="stable")
            best, value = np.take_along_axis(best, order, axis=1), np.take_along_axis(value, order, axis=1)
            self._near[some, :count] = np.where(value > 0, best, -1)
            self._ratio[some, :count] = value


def _members(labels: np.ndarray) -> dict[int, np.ndarray]:
    order = np.argsort(labels, kind="stable")
    values, first = np.unique(labels[order], return_index=True)
    parts = np.split(order, first[1:])
    return {int(value): part for value, part in zip(values, parts) if value >= 0}


def _distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """float32 (R, C), Euclidean."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None] - 2 * one @ other.T
    return np.sqrt(np.maximum(squares, 0))
