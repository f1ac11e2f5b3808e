"""Messages between the processes of a run; every function also works in a single process. See ``job.py``, too."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

logger = logging.getLogger(__name__)

T = TypeVar("T")


def is_active() -> bool:
    """Whether this process has joined others."""
    return dist.is_available() and dist.is_initialized()


def get_rank() -> int:
    """Number of this process, 0 without a process group."""
    return dist.get_rank() if is_active() else 0


def get_world_size() -> int:
    """Number of processes, 1 without a process group."""
    return dist.get_world_size() if is_active() else 1


def is_main() -> bool:
    """True on the process that writes files and talks to the user."""
    return get_rank() == 0


def barrier() -> None:
    """Wait for all processes."""
    if get_world_size() > 1:
        dist.barrier()


def broadcast_object(obj: Any) -> Any:
    """Rank 0's object on every rank; it must be picklable."""
    if get_world_size() == 1:
        return obj
    box = [obj]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def all_gather_objects(obj: Any) -> list[Any]:
    """One object of every process, in rank order, on every process; they must be picklable."""
    found = [obj] * get_world_size()
    if get_world_size() > 1:
        dist.all_gather_object(found, obj)
    return found


def from_main(work: Callable[[], T]) -> T:
    """``work()`` of rank 0 on every rank; the others do not call it. The result must be picklable and hold no CUDA
    tensor (it would arrive on rank 0's device).
    """
    return broadcast_object(work() if is_main() else None)


@contextmanager
def first_of_node() -> Iterator[None]:
    """The block runs on one process of every machine first, then on the others: what it leaves on disk is made once."""
    leads = int(os.environ.get("LOCAL_RANK", "0")) == 0
    if not leads:
        barrier()
    yield
    if leads:
        barrier()


@torch.no_grad()
def broadcast_buffers(module: nn.Module) -> None:
    """Rank 0's buffers (BN statistics) on every rank, so that all of them evaluate the same network."""
    if get_world_size() == 1:
        return
    alike: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for buffer in module.buffers():
        alike.setdefault((buffer.device, buffer.dtype), []).append(buffer)
    for buffers in alike.values():  # a few large messages instead of several for every BN layer
        flat = torch.cat([buffer.flatten() for buffer in buffers])
        dist.broadcast(flat, src=0)
        for buffer, part in zip(buffers, flat.split([buffer.numel() for buffer in buffers])):
            buffer.copy_(part.view_as(buffer))


def all_gather_with_grad(tensor: Tensor) -> Tensor:
    """Rows of all processes in rank order, with a gradient.

    The backward pass adds up the gradients that all processes hold for a row. When every process computes the same
    loss on the gathered rows, each row thus receives world-size times its gradient, and DistributedDataParallel,
    which averages parameter gradients over the processes, makes it the gradient of that loss on one device.

    Args:
        tensor: (B, ...), the same shape on every process.

    Returns:
        (world * B, ...); the argument itself in a single process.
    """
    if get_world_size() == 1:
        return tensor
    return _Gather.apply(tensor)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:  # type: ignore[override]
        ctx.rows = tensor.shape[0]
        return _gather_equal(tensor)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        start = get_rank() * ctx.rows
        return total[start : start + ctx.rows]


def all_gather_rows(tensor: Tensor, *, equal: bool = False) -> Tensor:
    """Rows of all processes in rank order, without a gradient; first dimensions may differ.

    Args:
        tensor: (B_rank, ...); the other dimensions and the dtype are the same on every process.
        equal: B_rank is the same on every process, as in a training batch: one message, and no wait for a GPU.

    Returns:
        (sum of B_rank, ...), on the tensor's device.
    """
    tensor = tensor.detach()
    if get_world_size() == 1:
        return tensor
    if equal:
        return _gather_equal(tensor)
    counts = _gather_equal(torch.tensor([tensor.shape[0]], device=tensor.device)).tolist()
    longest = max(counts)
    padded = tensor.new_zeros((longest, *tensor.shape[1:]))
    padded[: tensor.shape[0]] = tensor
    gathered = _gather_equal(padded)
    return torch.cat([gathered[rank * longest : rank * longest + count] for rank, count in enumerate(counts)])


def _gather_equal(tensor: Tensor) -> Tensor:
    parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(get_world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)
