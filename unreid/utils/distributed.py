"""torch.distributed, reduced to what the package needs; every function also works in a single process."""

from __future__ import annotations

import logging
import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)


def _active() -> bool:
    return dist.is_available() and dist.is_initialized()


def get_rank() -> int:
    """Number of this process, 0 without a process group."""
    return dist.get_rank() if _active() else 0


def get_world_size() -> int:
    """Number of processes, 1 without a process group."""
    return dist.get_world_size() if _active() else 1


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


def broadcast_buffers(module: nn.Module) -> None:
    """Rank 0's buffers (BN statistics) on every rank, so that all of them evaluate the same network."""
    if get_world_size() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)


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


def all_gather_rows(tensor: Tensor) -> Tensor:
    """Rows of all processes in rank order, without a gradient; first dimensions may differ.

    Args:
        tensor: (B_rank, ...); the other dimensions and the dtype are the same on every process.

    Returns:
        (sum of B_rank, ...), on the tensor's device.
    """
    tensor = tensor.detach()
    if get_world_size() == 1:
        return tensor
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


def init_from_env(device: str = "auto") -> torch.device:
    """Join the processes that torchrun started (RANK, WORLD_SIZE, LOCAL_RANK) and choose this process's device.

    Args:
        device: ``MODEL.DEVICE``: "auto" (CUDA when there is one), "cpu", "cuda" or "cuda:N".

    Returns:
        the device of this process; with several processes, each gets the GPU of its local rank.

    Raises:
        UserError: CUDA is asked for and there is none, or there are more local processes than GPUs.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = _choose_device(device, int(os.environ.get("LOCAL_RANK", "0")), world)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world > 1 and not _active():
        dist.init_process_group("cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo")
        logger.info("process %d of %d on %s", get_rank(), world, chosen)
    return chosen


def shutdown() -> None:
    """Leave the process group, if there is one."""
    if _active():
        dist.destroy_process_group()


def _choose_device(device: str, local_rank: int, world: int) -> torch.device:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = torch.device(device)
    if chosen.type != "cuda":
        return chosen
    count = torch.cuda.device_count()
    index = local_rank if world > 1 else (chosen.index or 0)
    if index >= count:
        found = f"there are {count} CUDA devices" if count else "torch finds no CUDA device"
        raise UserError(f"MODEL.DEVICE {device} needs CUDA device {index}, but {found}; set MODEL.DEVICE cpu or fewer.")
    return torch.device("cuda", index)
