"""Step 6 of the Jaccard distance compiled by numba: an optional extra, the fastest on a CPU.

Every thread owns whole rows and one dense accumulator; nothing is written by two threads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor

from unreid.neighbors.minsum_scipy import column_partners, mean_rows, row_blocks
from unreid.neighbors.support import SparseRows
from unreid.utils.errors import UserError

__all__ = ["mean_rows", "pair_distances"]

_TRIPLES = 2**22  # (i, column, j) triples visited at once: bounds the result buffers


def pair_distances(rows: SparseRows, limit: float) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs i < j within ``limit``; as :func:`unreid.neighbors.minsum_scipy.pair_distances`.

    Raises:
        UserError: numba is not installed.
    """
    kernel = _kernel()
    start, value = rows.start.numpy(), rows.value.numpy()
    partners = column_partners(rows)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for first, last in row_blocks(partners.before_row, _TRIPLES):
        room = partners.before_row[first : last + 1] - partners.before_row[first]
        near = np.empty(room[-1], np.int32)
        distance = np.empty(room[-1], np.float32)
        count = np.zeros(last - first, np.int64)
        kernel(first, start, value, partners, room, np.float32(limit), near, distance, count)
        row = np.repeat(np.arange(first, last), count)
        at = np.repeat(room[:-1] - (np.cumsum(count) - count), count) + np.arange(len(row))
        found.append((row, near[at].astype(np.int64), distance[at]))
    i, j, within = (torch.from_numpy(np.concatenate(part)) for part in zip(*found))
    return i, j, within


@cache
def _kernel() -> Callable[..., None]:
    try:
        import numba
    except ModuleNotFoundError as error:
        raise UserError("CLUSTER.BACKEND numba needs the package numba: pip install numba") from error

    @numba.njit(parallel=True)
    def kernel(first, start, value, partners, room, limit, near, distance, count):  # type: ignore[no-untyped-def]
        n, rows, workers = len(start) - 1, len(count), numba.get_num_threads()
        for worker in numba.prange(workers):
            total = np.zeros(n, np.float32)
            touched = np.empty(n, np.int32)
            for row in range(worker, rows, workers):
                seen = 0
                for entry in range(start[first + row], start[first + row + 1]):
                    for at in range(partners.after[entry], partners.after[entry] + partners.many[entry]):
                        j = partners.owner[at]
                        if total[j] == 0:
                            touched[seen] = j
                            seen += 1
                        total[j] += min(value[entry], partners.weight[at])
                kept = 0
                for t in range(seen):
                    m = total[touched[t]]
                    if 1 - m / (2 - m) <= limit:
                        near[room[row] + kept] = touched[t]
                        kept += 1
                near[room[row] : room[row] + kept].sort()
                for t in range(room[row], room[row] + kept):
                    m = total[near[t]]
                    distance[t] = max(np.float32(0), np.float32(1) - m / (np.float32(2) - m))
                total[touched[:seen]] = 0
                count[row] = kept

    return kernel
