"""Keeps one batch ahead of the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Ready = TypeVar("Ready")


def prefetch(
    items: Iterable[Item],
    prepare: Callable[[Item], Ready],
    tensors: Callable[[Ready], Iterable[Tensor]],
    device: torch.device,
) -> Iterator[Ready]:
    """``map(prepare, items)``; on CUDA the next item is copied and augmented on a side stream during the step.

    Args:
        items: what is prepared, in order; may itself queue device work.
        prepare: makes the device tensors of an item; must not wait for the device.
        tensors: the device tensors of a prepared item, so that their memory is not reused while the step reads them.
    """
    if device.type != "cuda":
        yield from map(prepare, items)
        return
    side = torch.cuda.Stream(device)
    source = iter(items)

    def start() -> Ready | None:
        with torch.cuda.stream(side):  # a source may work on the device itself, so asking it belongs here too
            item = next(source, None)
            return None if item is None else prepare(item)

    following = start()
    while following is not None:
        current = following
        main = torch.cuda.current_stream(device)
        main.wait_stream(side)
        for tensor in tensors(current):
            tensor.record_stream(main)
        following = start()
        yield current
