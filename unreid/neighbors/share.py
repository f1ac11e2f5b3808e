"""Which rows a process works on where several make one graph, and how their parts are put together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unreid.neighbors.support import SparseRows
from unreid.utils.distributed import all_gather_rows, get_rank, get_world_size


@dataclass(frozen=True)
class Share:
    """The part of one of several processes. Those that join anything must all do so.

    Attributes:
        rank: from 0.
        world: the number of processes.
    """

    rank: int = 0
    world: int = 1

    @classmethod
    def of_this_process(cls) -> Share:
        """The share of this process of a run."""
        return cls(get_rank(), get_world_size())

    def span(self, n: int) -> tuple[int, int]:
        """[first, last) of n rows."""
        return n * self.rank // self.world, n * (self.rank + 1) // self.world

    def rows(self, n: int, device: torch.device) -> Tensor:
        """int64: the numbers of those rows."""
        return torch.arange(*self.span(n), device=device)

    def even_span(self, before: np.ndarray) -> tuple[int, int]:
        """[first, last) of N rows that hold about as many items as any other share; ``before`` int64 (N + 1,)."""
        if self.world == 1:
            return 0, len(before) - 1
        ends = [int(before[-1]) * part // self.world for part in (self.rank, self.rank + 1)]
        first, last = np.searchsorted(before[:-1], ends)
        return (int(first) if self.rank else 0), (int(last) if self.rank + 1 < self.world else len(before) - 1)

    def join(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in their order."""
        return rows if self.world == 1 else all_gather_rows(rows)

    def join_rows(self, rows: SparseRows) -> SparseRows:
        """As :meth:`join`."""
        if self.world == 1:
            return rows
        start = torch.cat([rows.start[:1], self.join(rows.start.diff()).cumsum(0)])
        return SparseRows(start, self.join(rows.column), self.join(rows.value))


ALONE = Share()
