"""k-reciprocal re-ranking of a gallery (Zhong et al., CVPR 2017) with sparse encodings.

The published code fills dense (Q + G) x (Q + G) matrices of distances, ranks and encodings: 35 GB each for MSMT17.
Here rows of the distance matrix are made in blocks, twice; what is kept are the nearest lists and a sparse encoding
of a few dozen entries a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unreid.evaluation.distance import DistanceBlocks, RowBlocks, row_slices
from unreid.utils.arrays import ArrayLike, as_rows

EXPANSION_BUDGET = 1 << 22
"""Products of overlapping encodings summed at once (at most 200 MB of temporaries)."""


def rerank(
    q_g: ArrayLike,
    q_q: ArrayLike | RowBlocks,
    g_g: ArrayLike | RowBlocks,
    *,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    square_input: bool = True,
    block: int | None = None,
) -> Tensor:
    """Re-ranked query x gallery distances: ``(1 - lambda) * Jaccard + lambda * original``.

    "Original" is the given distance, squared if ``square_input``, over the largest one of the row. The published
    evaluators hand in *squared* Euclidean distances and the published function squares again; feed plain Euclidean
    distances, or switch ``square_input`` off, to square once.

    Args:
        q_g: (Q, G).
        q_q: (Q, Q), or a function that gives the rows of a slice of it.
        g_g: (G, G), or such a function.
        k1: size of the reciprocal neighbourhood, self not counted.
        k2: rows averaged by the query expansion; 1 switches it off.
        lambda_value: share of the original distance in [0, 1].
        block: rows of the stacked matrix computed at once; default: as many as fit 8 MiB.

    Returns:
        float32 (Q, G) on the device of ``q_g``.

    Raises:
        ValueError: shapes that do not fit, or a parameter out of range.
    """
    if k1 < 1 or k2 < 1 or not 0.0 <= lambda_value <= 1.0:
        raise ValueError(f"need k1 >= 1, k2 >= 1 and lambda in [0, 1], not {k1}, {k2} and {lambda_value}")
    q_g = as_rows(q_g, "q_g")
    q_q = q_q if callable(q_q) else as_rows(q_q, "q_q")
    g_g = g_g if callable(g_g) else as_rows(g_g, "g_g")
    stacked = StackedDistances(q_g, q_q, g_g, square_input)
    ranks = _nearest(stacked, max(k1 + 1, k2), block)
    encoding = _encode(stacked, ranks, k1, block)
    if k2 > 1:
        encoding = expand_queries(encoding, ranks[:, :k2])
    return mixed_distances(stacked, encoding, lambda_value, block)


def mixed_distances(
    stacked: StackedDistances, encoding: SparseEncoding, lambda_value: float, block: int | None = None
) -> Tensor:
    """float32 (Q, G): ``(1 - lambda) * Jaccard distance of the encodings + lambda * original``."""
    queries, gallery = stacked.num_queries, stacked.num_rows - stacked.num_queries
    inverse = encoding.columns_of_rows(queries, stacked.num_rows)
    out = torch.empty(queries, gallery, dtype=torch.float32, device=encoding.values.device)
    for rows in row_slices(queries, gallery, block):
        original = stacked(rows)[:, queries:]
        jaccard = _jaccard(encoding, inverse, rows, gallery)
        out[rows] = jaccard.mul_(1.0 - lambda_value).add_(original, alpha=lambda_value)
    return out


def rerank_features(
    query: ArrayLike,
    gallery: ArrayLike,
    *,
    q_g: ArrayLike | None = None,
    metric: str = "squared_euclidean",
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    square_input: bool = True,
) -> Tensor:
    """:func:`rerank` of features (Q, D) and (G, D), whose gallery x gallery distances are never stored.

    ``q_g`` replaces the query x gallery block, for instance by distances changed by constraints; the other two blocks
    stay as they are (AuxUSL). The sizes are those of :func:`rerank`.
    """
    q_g = DistanceBlocks(query, gallery, metric).dense() if q_g is None else q_g
    q_q, g_g = DistanceBlocks(query, query, metric), DistanceBlocks(gallery, gallery, metric)
    return rerank(q_g, q_q, g_g, k1=k1, k2=k2, lambda_value=lambda_value, square_input=square_input)


class StackedDistances:
    """Rows of the normalised original distance of queries and gallery together: O_ij = d_ji^2 / max_l d_li^2."""

    def __init__(self, q_g: Tensor, q_q: Tensor | RowBlocks, g_g: Tensor | RowBlocks, square: bool) -> None:
        self.num_queries, num_gallery = q_g.shape
        self.num_rows = self.num_queries + num_gallery
        for name, part, size in (("q_q", q_q, self.num_queries), ("g_g", g_g, num_gallery)):
            if isinstance(part, Tensor) and tuple(part.shape) != (size, size):
                raise ValueError(f"{name} must be {(size, size)} to fit q_g, not {tuple(part.shape)}")
        self._q_g, self._square = q_g, square
        # Row i of O is column i of the distances, which matters only if a block is not symmetric.
        self._q_q = q_q.T.__getitem__ if isinstance(q_q, Tensor) else q_q
        self._g_g = g_g.T.__getitem__ if isinstance(g_g, Tensor) else g_g

    def __call__(self, rows: slice) -> Tensor:
        """float32 (rows, Q + G)."""
        split = self.num_queries
        dist = torch.empty(rows.stop - rows.start, self.num_rows, dtype=torch.float32, device=self._q_g.device)
        below = max(0, min(rows.stop, split) - rows.start)  # so many of them are queries
        if below:
            mine = slice(rows.start, rows.start + below)
            dist[:below, :split], dist[:below, split:] = self._q_q(mine), self._q_g[mine]
        if below < len(dist):
            mine = slice(max(rows.start, split) - split, rows.stop - split)
            dist[below:, :split], dist[below:, split:] = self._q_g[:, mine].T, self._g_g(mine)
        if self._square:
            dist.square_()
        return dist.div_(dist.amax(dim=1, keepdim=True).clamp_(min=torch.finfo(torch.float32).tiny))


def _nearest(stacked: StackedDistances, width: int, block: int | None) -> Tensor:
    """int64 (N, width): the row itself, then its nearest by (distance, index).

    Itself first also among exact duplicates: a row that is missing in its own list would have an empty encoding.
    """
    n = stacked.num_rows
    lists = []
    for rows in row_slices(n, n, block):
        dist = stacked(rows)
        dist.diagonal(rows.start).fill_(-1.0)
        lists.append(smallest(dist, min(width, n)))
    return torch.cat(lists)


def smallest(values: Tensor, k: int) -> Tensor:
    """int64 (b, k): columns of the k smallest values of each row, ties by column."""
    top, index = values.topk(min(k + 1, values.shape[1]), dim=1, largest=False)
    index = index[:, :k]
    if top.shape[1] > k:  # topk chooses in no defined order among values tied at the boundary
        tied = (top[:, k] == top[:, k - 1]).nonzero()[:, 0]
        if len(tied):
            index[tied] = values[tied].sort(dim=1, stable=True).indices[:, :k]
    index = index.sort(dim=1).values
    return index.gather(1, values.gather(1, index).sort(dim=1, stable=True).indices)


@dataclass
class SparseEncoding:
    """Compressed rows: row i has ``columns[start[i]:start[i + 1]]`` (ascending) with ``values``."""

    start: Tensor
    columns: Tensor
    values: Tensor

    @classmethod
    def from_entries(cls, blocks: list[tuple[Tensor, Tensor, Tensor]], num_rows: int) -> SparseEncoding:
        """From (row, column, value) of entries in row order, in blocks of rows."""
        row, column, values = (torch.cat(part) for part in zip(*blocks))
        start = torch.zeros(num_rows + 1, dtype=torch.int64, device=row.device)
        start[1:] = torch.bincount(row, minlength=num_rows).cumsum(0)
        return cls(start, column, values)

    def columns_of_rows(self, first: int, num_columns: int) -> SparseEncoding:
        """The transpose of the rows from ``first`` on; its columns are counted from ``first``."""
        skip = int(self.start[first])
        row = torch.repeat_interleave(self.start[first:].diff())
        order = self.columns[skip:].argsort(stable=True)
        return self.from_entries([(self.columns[skip:][order], row[order], self.values[skip:][order])], num_columns)

    def gather(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(position in ``rows``, column, value) of every entry of some rows, in order."""
        length = self.start[rows + 1] - self.start[rows]
        position = torch.repeat_interleave(length)
        ends = length.cumsum(0)
        inside = torch.arange(len(position), device=rows.device) - (ends - length)[position]
        entry = self.start[rows][position] + inside
        return position, self.columns[entry], self.values[entry]


def _encode(stacked: StackedDistances, ranks: Tensor, k1: int, block: int | None) -> SparseEncoding:
    """Rows exp(-O_ij) / sum over the expanded reciprocal set of i, zero elsewhere."""
    n = stacked.num_rows
    full = ranks[:, : k1 + 1]
    half = ranks[:, : round(k1 / 2) + 1]  # half to even, as numpy.around
    in_full, in_half = reciprocal_places(full), reciprocal_places(half)
    entries = []
    for rows in row_slices(n, max(n, full.shape[1] * half.shape[1]), block):
        mask = torch.zeros(rows.stop - rows.start, n, dtype=torch.bool, device=ranks.device)
        mask.scatter_(1, full[rows], in_full[rows])
        candidate = full[rows]
        members, reciprocal = half[candidate], in_half[candidate]  # (b, w, h)
        shared = mask.gather(1, members.flatten(1)).view_as(members) & reciprocal
        accept = in_full[rows] & (3 * shared.sum(-1) > 2 * reciprocal.sum(-1))
        row, which, entry = (reciprocal & accept[..., None]).nonzero(as_tuple=True)
        mask[row, members[row, which, entry]] = True
        entries.append(weighted(stacked, rows, mask))
    return SparseEncoding.from_entries(entries, n)


def weighted(stacked: StackedDistances, rows: slice, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(row, column, exp(-O) over the sum of its row) of the entries that ``mask`` (rows, N) keeps."""
    weight = stacked(rows).neg_().exp_().masked_fill_(~mask, 0.0)
    weight /= weight.sum(1, keepdim=True)
    row, column = mask.nonzero(as_tuple=True)
    return row + rows.start, column, weight[row, column]


def reciprocal_places(ranks: Tensor) -> Tensor:
    """bool (N, m): whether i is also among the first m of its neighbour ``ranks[i, a]``."""
    n, m = ranks.shape
    index = torch.arange(n, device=ranks.device)
    blocks = [(ranks[ranks[rows]] == index[rows, None, None]).any(-1) for rows in row_slices(n, m * m)]
    return torch.cat(blocks)


def expand_queries(encoding: SparseEncoding, nearest: Tensor) -> SparseEncoding:
    """Every row becomes the mean of the old rows of its ``nearest`` (N, k2)."""
    n, k2 = nearest.shape
    entries = []
    for rows in row_slices(n, n):
        mean = torch.zeros(rows.stop - rows.start, n, dtype=torch.float32, device=nearest.device)
        for rank in range(k2):  # one neighbour at a time: no column repeats inside a row, so the sum is exact in order
            position, column, value = encoding.gather(nearest[rows, rank])
            mean[position, column] += value
        row, column = mean.nonzero(as_tuple=True)
        entries.append((row + rows.start, column, mean[row, column] / k2))
    return SparseEncoding.from_entries(entries, n)


def _jaccard(encoding: SparseEncoding, inverse: SparseEncoding, rows: slice, num_gallery: int) -> Tensor:
    """float32 (rows, G): 1 - m / (2 - m) with m = sum of the minima of two encodings.

    Only columns that both rows use are visited: those of the query, and in the transpose the gallery rows that have
    them. Sums are taken in float64, so that their order (atomic on CUDA) cannot be seen in the result.
    """
    first, last = int(encoding.start[rows.start]), int(encoding.start[rows.stop])
    query = torch.repeat_interleave(encoding.start[rows.start : rows.stop + 1].diff())
    columns, values = encoding.columns[first:last], encoding.values[first:last]
    minima = torch.zeros((rows.stop - rows.start) * num_gallery, dtype=torch.float64, device=values.device)
    work = (inverse.start[columns + 1] - inverse.start[columns]).cumsum(0)
    for part in _even_parts(work, EXPANSION_BUDGET):
        position, gallery, other = inverse.gather(columns[part])
        smaller = torch.minimum(values[part][position], other).double()
        minima.index_add_(0, query[part][position] * num_gallery + gallery, smaller)
    minima = minima.view(-1, num_gallery)
    return (1.0 - minima / (2.0 - minima)).clamp_(min=0.0).float()


def _even_parts(work: Tensor, budget: int) -> list[slice]:
    """Cuts entries with cumulated ``work`` into slices of about ``budget``."""
    if not len(work) or int(work[-1]) == 0:
        return []
    bounds = torch.arange(budget, int(work[-1]) + budget, budget, device=work.device)
    ends = torch.searchsorted(work, bounds, right=True).clamp(min=1).unique().tolist()
    ends[-1] = len(work)
    return [slice(start, stop) for start, stop in zip([0, *ends[:-1]], ends)]
