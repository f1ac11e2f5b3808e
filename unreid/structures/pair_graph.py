"""The sparse graph of all pairs up to a distance, and its way to scipy and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from unreid.utils.errors import InputError

if TYPE_CHECKING:
    import torch
    from scipy.sparse import csr_array
    from torch import Tensor

DENSE_ROWS = 1024  # rows of a dense matrix that constraints change at once


@dataclass
class PairGraph:
    """Every unordered pair i < j with distance <= ``radius`` (+ the builder's tolerance), sorted by (i, j).

    A pair that is not listed lies beyond the radius; pairs at distance 0 are listed.

    Attributes:
        n: number of samples N.
        i, j: int64 (E,), i < j.
        dist: float32 (E,).
        radius: the largest distance the graph knows about; below 1 for Jaccard distances.
        self_dist: float32 (N,), distance of a sample to itself (0 but for degenerate rows).
        beyond: given distances float32 (rows, N) of pairs that are not listed, and the slice of these rows, returns
            what constraints make of them; None: nothing. Read by :meth:`to_dense` only.
    """

    n: int
    i: Tensor
    j: Tensor
    dist: Tensor
    radius: float
    self_dist: Tensor
    beyond: Callable[[Tensor, slice], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.i)

    def within(self, radius: float, tol: float = 0.0) -> PairGraph:
        """The graph restricted to ``dist <= radius + tol``; raises ``ValueError`` if it does not reach so far."""
        if radius > self.radius:
            raise ValueError(f"the graph was built up to {self.radius}, not up to {radius}")
        keep = self.dist <= radius + tol
        return replace(self, i=self.i[keep], j=self.j[keep], dist=self.dist[keep], radius=radius)

    def to_dense(self, fill: float = 1.0) -> Tensor:
        """float32 (N, N) with ``fill`` where nothing is stored. For tests, small N and HDC only."""
        import torch

        dense = torch.full((self.n, self.n), fill, dtype=torch.float32, device=self.dist.device)
        if self.beyond is not None:
            for start in range(0, self.n, DENSE_ROWS):
                rows = slice(start, min(start + DENSE_ROWS, self.n))
                dense[rows] = self.beyond(dense[rows], rows)
        dense[self.i, self.j] = self.dist
        dense[self.j, self.i] = self.dist
        dense.diagonal().copy_(self.self_dist)
        return dense

    def to_scipy(self) -> csr_array:
        """float32 (N, N) CSR matrix for scipy, scikit-learn and their kin: symmetric, columns ascending.

        Stored are both directions of every pair of the graph, pairs at distance 0 included, and the diagonal. What is
        not stored lies beyond ``radius``; it is not at distance 0. ``sklearn.cluster.DBSCAN(metric="precomputed")``
        reads it so.
        """
        import torch
        from scipy.sparse import coo_array

        own = torch.arange(self.n, device=self.i.device)
        row, column = torch.cat((self.i, self.j, own)).cpu().numpy(), torch.cat((self.j, self.i, own)).cpu().numpy()
        values = torch.cat((self.dist, self.dist, self.self_dist)).cpu().numpy()
        matrix = coo_array((values, (row, column)), shape=(self.n, self.n)).tocsr()
        matrix.sort_indices()
        return matrix

    @classmethod
    def from_scipy(cls, matrix: Any, radius: float | None = None) -> PairGraph:
        """The graph of a symmetric sparse matrix (N, N) as :meth:`to_scipy` describes it.

        Args:
            matrix: a scipy sparse matrix or array; pairs that it does not store count as beyond ``radius``.
            radius: the largest distance it is complete up to; None: the largest one stored.

        Raises:
            InputError: not sparse, not square or not symmetric.
        """
        import torch

        if not hasattr(matrix, "tocoo") or len(matrix.shape) != 2 or matrix.shape[0] != matrix.shape[1]:
            raise InputError(f"a pair graph is made from a sparse matrix (N, N), not from {type(matrix).__name__}.")
        coo = matrix.tocsr().tocoo()
        upper, lower = coo.row < coo.col, coo.row > coo.col
        own = np.zeros(matrix.shape[0], dtype=np.float32)
        own[coo.row[coo.row == coo.col]] = coo.data[coo.row == coo.col]
        order = np.lexsort((coo.col[upper], coo.row[upper]))
        mirror = np.lexsort((coo.row[lower], coo.col[lower]))
        i, j, dist = (part[upper][order] for part in (coo.row, coo.col, coo.data))
        other = (coo.col[lower][mirror], coo.row[lower][mirror], coo.data[lower][mirror])
        if not all(np.array_equal(one, two) for one, two in zip((i, j, dist), other)):
            raise InputError("a pair graph is made from a symmetric matrix (N, N), and this one is not symmetric.")
        reach = float(dist.max(initial=0.0)) if radius is None else radius
        pairs = torch.from_numpy(i.astype(np.int64)), torch.from_numpy(j.astype(np.int64))
        return cls(matrix.shape[0], *pairs, torch.from_numpy(dist.astype(np.float32)), reach, torch.from_numpy(own))

    def to(self, device: torch.device | str) -> PairGraph:
        """The same graph on another device."""
        moved = {name: getattr(self, name).to(device) for name in ("i", "j", "dist", "self_dist")}
        return replace(self, **moved)
