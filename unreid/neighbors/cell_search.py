"""Neighbour lists from cells (``cells.py``): candidates in this package's order."""

from __future__ import annotations

import logging

from torch import Tensor

from unreid.neighbors.cells import WIDER, Cells
from unreid.neighbors.faiss_search import approximate_lists
from unreid.neighbors.torch_search import Spans

logger = logging.getLogger(__name__)

CELLS = "torch_ivf"
FEW = 2**14  # rows among which the exact search is quicker


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

        def propose(rows: Tensor) -> Tensor:
            return cells.search(cells.table[rows], k + WIDER, visited)

        return approximate_lists(features, rows, k, propose, CELLS, seed=self.seed, spans=spans)
