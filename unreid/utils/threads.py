"""Work on many small tensors in threads, where torch's own threads would spend their time waiting for each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def in_threads(work: Callable[[T], None], parts: Iterable[T], device: torch.device) -> None:
    """Calls ``work`` for every part; on a CPU in as many threads as torch has, each with one core of its own.

    What the parts write must not overlap. Gradients are not recorded.

    Raises:
        Exception: the first that ``work`` raised; parts not begun by then are left out.
    """
    threads = torch.get_num_threads() if device.type == "cpu" else 1

    @torch.no_grad()
    def alone(part: T) -> None:
        if threads > 1:
            torch.set_num_threads(1)  # of this thread
        work(part)

    if threads == 1:
        for part in parts:
            alone(part)
        return
    try:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(alone, parts))
    finally:
        torch.set_num_threads(threads)  # setting it in a thread also sets that of threads to come
