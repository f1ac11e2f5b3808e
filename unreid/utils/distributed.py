"""torch.distributed, reduced to what the package needs; every function also works in a single process."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from unreid.utils.errors import PeerFailedError, UserError

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Processes wait for each other while the main one clusters or ranks. Nobody waits that long for a process that died:
# gloo notices, and torchrun ends the others.
TIMEOUT = timedelta(hours=2)


class _Job:
    """What this process knows of the job that torchrun started; like the process group, there is one a process.

    Attributes:
        store: the key-value store all processes share, kept because a later process group needs it again.
        runs: process groups made so far.
        first_to_fail: the answer of :func:`first_to_fail` in the current run, once it was asked.
    """

    store: dist.Store | None = None
    runs: int = 0
    first_to_fail: bool | None = None


_job = _Job()


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
        _join(chosen)
        logger.info("process %d of %d on %s", get_rank(), world, chosen)
    return chosen


def _join(device: torch.device) -> None:
    if _job.store is None:
        store, _, _ = next(dist.rendezvous("env://", timeout=TIMEOUT))
        _job.store = dist.PrefixStore(f"start{_restarts()}", store)
    _job.runs += 1
    _job.first_to_fail = None
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        # A run finds no keys of the run before it in this job (``--repeat``).
        store=dist.PrefixStore(f"run{_job.runs}", _job.store),
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
        timeout=TIMEOUT,
    )


def _restarts() -> int:
    """How often torchrun has started these processes anew, where it keeps its store meanwhile.

    The store then holds the addresses of processes that are gone, and a new start needs new keys. Every machine counts
    for itself, so that this is only good for one.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return 0
    restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    if restarts and int(os.environ.get("GROUP_WORLD_SIZE", "1")) > 1:
        raise UserError(
            "Restarts on several machines need a new store each time: set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in the "
            "environment of torchrun."
        )
    return restarts


def have_met() -> bool:
    """Whether this process has joined the others of its job at least once."""
    return _job.store is not None


def first_to_fail() -> bool:
    """Whether this process is the first that reports a failure of the run: the others fail because of it.

    Ask before :func:`shutdown`, which the others notice. Before the processes have met, where the usual failure is a
    mistake in the config and happens to all of them, the first process of every machine is "first".
    """
    if _job.first_to_fail is None:
        if _job.store is None:
            return int(os.environ.get("LOCAL_RANK", "0")) == 0
        try:
            _job.first_to_fail = _job.store.add(f"run{_job.runs}/failures", 1) == 1
        except RuntimeError:  # the machine that kept the store is gone: better said twice than never
            _job.first_to_fail = True
    return _job.first_to_fail


@contextmanager
def one_voice() -> Iterator[None]:
    """Of several processes that fail, the first keeps its error; those that fail because of it get another."""
    try:
        yield
    except PeerFailedError:
        raise
    except Exception as error:
        if first_to_fail():
            raise
        logger.warning("this process ends because another one failed first")
        logger.debug("what it noticed: %s", error)
        raise PeerFailedError("another process of the run failed first") from error


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
