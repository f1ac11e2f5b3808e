"""Two neighbour lists of every row: among the rows of its own camera, and among those of all others.

Rows are put into the order of their cameras, so that "own camera" is one range of rows and "other cameras" two: both
searches then scan ranges, and no N x N mask is ever needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unreid.neighbors.cell_search import CELLS, FEW, CellSearch
from unreid.neighbors.faiss_search import EF_SEARCH, FAISS_BACKENDS, MARGIN, NPROBE, approximate_lists, build_index
from unreid.neighbors.knn import resolved
from unreid.neighbors.torch_search import Scorer, Spans, exact_search, full_precision, has_fast_bf16

_FEW = 4096  # rows among which the exact search is quicker than an index


@dataclass
class CameraLists:
    """Neighbour lists of Q rows, by ascending (distance, index), the row itself first where it is in the list.

    Where a camera (or the rest) holds fewer rows than a list is wide, the list goes on with the nearest rows of the
    other side: the published code adds a constant to excluded distances instead of leaving them out.

    Attributes:
        intra: int64 (Q, k), rows of the own camera; ``intra_distance`` float32 (Q, k), squared Euclidean.
        inter: int64 (Q, k), rows of the other cameras; ``inter_distance`` likewise.
    """

    intra_distance: Tensor
    intra: Tensor
    inter_distance: Tensor
    inter: Tensor


@torch.no_grad()
def camera_lists(
    features: Tensor,
    camids: Tensor,
    k_intra: int,
    k_inter: int,
    *,
    backend: str = "torch",
    queries: Tensor | None = None,
    nprobe: int = NPROBE,
    seed: int = 0,
) -> CameraLists:
    """The lists of the rows ``queries``.

    Args:
        features: float32 (N, D), finite.
        camids: int64 (N,), on the same device.
        k_intra, k_inter: widths, clamped to N.
        backend, nprobe, seed: as :func:`unreid.neighbors.knn`; the lists of the own camera are exact where
            the camera has few rows.
        queries: int64 (Q,), ascending; None: all rows.
    """
    n = len(features)
    order = camids.argsort(stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(n, device=order.device)
    search = _Search(features[order], backend, nprobe, seed)
    wanted = place if queries is None else place[queries]
    widths = min(k_intra, n), min(k_inter, n)
    lists = CameraLists(*_empty(features, len(wanted), widths[0]), *_empty(features, len(wanted), widths[1]))
    stop = 0
    for size in torch.unique_consecutive(camids[order], return_counts=True)[1].tolist():
        start, stop = stop, stop + size
        mine = ((wanted >= start) & (wanted < stop)).nonzero()[:, 0]
        if len(mine):
            own = [(start, stop)]
            others = [span for span in ((0, start), (stop, n)) if span[0] < span[1]]
            _fill(lists, search, mine, wanted[mine], own, others, widths)
    lists.intra, lists.inter = order[lists.intra], order[lists.inter]
    return lists


def _empty(features: Tensor, rows: int, width: int) -> tuple[Tensor, Tensor]:
    return features.new_empty(rows, width), torch.empty(rows, width, dtype=torch.int64, device=features.device)


def _fill(
    lists: CameraLists,
    search: _Search,
    mine: Tensor,
    rows: Tensor,
    own: Spans,
    others: Spans,
    widths: tuple[int, int],
) -> None:
    """Writes the lists of the rows of one camera."""
    sizes = [sum(stop - start for start, stop in spans) for spans in (own, others)]
    wide = min(sizes[0], max(widths[0], widths[1] - sizes[1])), min(sizes[1], max(widths[1], widths[0] - sizes[0]))
    near, far = search(rows, wide[0], own), search(rows, wide[1], others)
    for target, index, width, (first, second) in (
        (lists.intra_distance, lists.intra, widths[0], (near, far)),
        (lists.inter_distance, lists.inter, widths[1], (far, near)),
    ):
        target[mine] = torch.cat([first[0][:, :width], second[0]], dim=1)[:, :width]
        index[mine] = torch.cat([first[1][:, :width], second[1]], dim=1)[:, :width]


class _Search:
    """Nearest rows within ranges of the table, exact or from one index that skips what is outside them."""

    def __init__(self, table: Tensor, backend: str, nprobe: int, seed: int) -> None:
        self.table = table
        self.backend = resolved(backend, table)
        self.nprobe, self.seed = nprobe, seed
        self._index: Any = None
        fast = self.backend in ("torch_bf16", CELLS) and has_fast_bf16(table.device)
        self._dtype = torch.bfloat16 if fast else torch.float32
        self._scorer = Scorer.of(table, self._dtype)

    def __call__(self, rows: Tensor, k: int, spans: Spans) -> tuple[Tensor, Tensor]:
        if k == 0:
            return _empty(self.table, len(rows), 0)
        total = sum(stop - start for start, stop in spans)
        with full_precision():
            if self.backend == CELLS and total > FEW:
                return self._by_cells(rows, k, spans, total)
            if self.backend in FAISS_BACKENDS and self.backend != "faiss_flat" and total > _FEW:
                return self._approximate(rows, k, spans, total)
            return exact_search(self.table, rows, k, dtype=self._dtype, spans=spans, scorer=self._scorer)

    def _by_cells(self, rows: Tensor, k: int, spans: Spans, total: int) -> tuple[Tensor, Tensor]:
        if total < len(self.table) // 2:
            start, stop = spans[0]
            if bool(((rows >= start) & (rows < stop)).all()):  # a camera gets cells of its own
                found = CellSearch(self.table[start:stop], seed=self.seed)(rows - start, k)
                return found[0], found[1] + start
        self._index = CellSearch(self.table, seed=self.seed) if self._index is None else self._index
        return self._index(rows, k, spans)

    def _approximate(self, rows: Tensor, k: int, spans: Spans, total: int) -> tuple[Tensor, Tensor]:
        inside, options = None, None
        if total < len(self.table) // 2:  # few rows pass a filter, and the walk through a filtered graph gets lost
            inside = torch.cat([torch.arange(*span, device=rows.device) for span in spans])
            index = self._build(self.table[inside])
        else:
            index = self._index = self._build(self.table) if self._index is None else self._index
            options = self._inside(spans)

        def propose(part: Tensor) -> Tensor:
            found = index.search(self.table[part].cpu().numpy(), min(k + MARGIN, total), params=options)[1]
            candidates = torch.from_numpy(found).to(part)
            return candidates if inside is None else torch.where(candidates < 0, -1, inside[candidates])

        return approximate_lists(self.table, rows, k, propose, self.backend, seed=self.seed, spans=spans)

    def _build(self, table: Tensor) -> Any:
        return build_index(table, self.backend, nprobe=self.nprobe, seed=self.seed)

    def _inside(self, spans: Spans) -> Any:
        """faiss's search parameters with a filter that lets the spans through."""
        import faiss as library

        faiss: Any = library  # its type hints name neither the classes nor their arguments
        ranges = [faiss.IDSelectorRange(start, stop) for start, stop in spans]
        inside = ranges[0] if len(ranges) == 1 else faiss.IDSelectorOr(*ranges)
        if self.backend == "faiss_hnsw":
            return faiss.SearchParametersHNSW(efSearch=EF_SEARCH, sel=inside)
        return faiss.SearchParametersIVF(nprobe=self._index.nprobe, sel=inside)
