"""Neighbour lists from cells (``cells.py``): candidates in this package's order."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from unreid.neighbors.cells import WIDER, Cells
from unreid.neighbors.faiss_search import report_recall, with_self
from unreid.neighbors.rescoring import order_candidates
from unreid.neighbors.torch_search import Spans, exact_search
from unreid.utils.progress import tracked

logger = logging.getLogger(__name__)

CELLS = "torch_ivf"
FEW = 2**14  # rows among which the exact search is quicker
_BLOCK = 8192  # rows whose candidates are looked for and put into order at once


class CellSearch:
    """Searches among all rows of a table, or among those of some ranges.

    The cells are those of the whole table on every process, whichever rows it searches.

    Args:
        features: float32 (N, D).
        seed: of the cells and of the samples.
    """

    def __init__(self, features: Tensor, *, seed: int = 0) -> None:
        self.features, self.seed = features, seed
        self._cells = Cells.of(features, seed=seed)
        self._visited: dict[tuple[int, int], int] = {}  # by width of the lists, and eighths of the rows in the spans

    def __call__(self, rows: Tensor, k: int, spans: Spans | None = None) -> tuple[Tensor, Tensor]:
        """Lists (Q, k) of the rows; arguments and result as :func:`unreid.neighbors.torch_search.exact_search`."""
        features = self.features
        cells = self._cells if spans is None else self._cells.within(spans)
        held = len(features) if spans is None else sum(stop - start for start, stop in spans)
        case = k, round(8 * held / len(features))
        if case not in self._visited:
            self._visited[case] = cells.visits(features, k, spans, self.seed)
            logger.info("every row visits %d of %d cells", self._visited[case], len(cells.mean))
        visited = self._visited[case]
        distance, neighbor = features.new_empty(len(rows), k), rows.new_empty(len(rows), k)
        starts = range(0, len(rows), _BLOCK)
        for start in tracked(starts, "neighbour lists", len(starts), "blocks"):
            part = slice(start, start + _BLOCK)
            candidates = cells.search(cells.table[rows[part]], k + WIDER, visited)
            inside = _inside(rows[part], spans)
            candidates[inside] = with_self(candidates[inside], rows[part][inside])
            distance[part], neighbor[part] = order_candidates(features, rows[part], candidates, k)
        short = (neighbor < 0).any(dim=1).nonzero()[:, 0]
        if len(short):
            logger.info("%d of %d lists came back short and are searched exactly", len(short), len(rows))
            distance[short], neighbor[short] = exact_search(features, rows[short], k, spans=spans)
        report_recall(features, rows, neighbor, CELLS, seed=self.seed, spans=spans)
        return distance, neighbor


def _inside(rows: Tensor, spans: Spans | None) -> Tensor:
    """bool (Q,): whether the spans hold the row."""
    inside = torch.full_like(rows, spans is None, dtype=torch.bool)
    for start, stop in spans or ():
        inside |= (rows >= start) & (rows < stop)
    return inside
