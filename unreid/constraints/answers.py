"""What a person decided about samples: pairs that are one identity, pairs that are two, and samples that are nobody."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from unreid.constraints.links import Links


def _no_pairs() -> np.ndarray:
    return np.empty((0, 2), dtype=np.int64)


def _nothing(kind: type = np.int64) -> np.ndarray:
    return np.empty(0, dtype=kind)


@dataclass(frozen=True)
class Answers:
    """Decisions about ``count`` samples.

    A decision about a pair speaks for the two samples, or, where it is ``whole``, for the clusters that they stand for.

    Attributes:
        count: number of samples N.
        same, apart: int64 (L, 2) and (M, 2), must-links and cannot-links.
        same_whole, apart_whole: bool (L,) and (M,).
        noise: int64 (K,), samples without an identity.
    """

    count: int
    same: np.ndarray = field(default_factory=_no_pairs)
    apart: np.ndarray = field(default_factory=_no_pairs)
    same_whole: np.ndarray = field(default_factory=lambda: _nothing(np.bool_))
    apart_whole: np.ndarray = field(default_factory=lambda: _nothing(np.bool_))
    noise: np.ndarray = field(default_factory=_nothing)

    def __len__(self) -> int:
        return len(self.same) + len(self.apart) + len(self.noise)

    def groups(self) -> np.ndarray:
        """int64 (N,): samples that must-links join, directly or over others, have one number below N."""
        ends = (np.ones(len(self.same), dtype=bool), (self.same[:, 0], self.same[:, 1]))
        _, number = connected_components(coo_array(ends, shape=(self.count, self.count)), directed=False)
        return number.astype(np.int64)

    def with_links(self, links: Links) -> Answers:
        """The same with mined cannot-links (TOC), each speaking for its two samples; those that must-links join go.

        Args:
            links: of N samples.
        """
        pairs = np.stack((links.rows(), links.index), axis=1)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        group = self.groups()
        pairs = pairs[group[pairs[:, 0]] != group[pairs[:, 1]]]
        whole = np.concatenate((self.apart_whole, np.zeros(len(pairs), dtype=bool)))
        return replace(self, apart=np.concatenate((self.apart, pairs)), apart_whole=whole)
