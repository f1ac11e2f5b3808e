"""The job that torchrun started: joining it, failing with one voice, leaving it."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from unreid.utils.distributed import get_rank, is_active
from unreid.utils.errors import PeerFailedError, PeerLostError, UserError
from unreid.utils.liveness import Liveness
from unreid.utils.signals import say, set_voice

logger = logging.getLogger(__name__)

SILENCE = timedelta(minutes=10)
"""How long a process may give no sign of life, see :mod:`unreid.utils.liveness`."""

# Processes wait for each other while the main one clusters or ranks, however long that takes. That nobody waits for one
# that is dead or frozen is the business of Liveness.
_BUSY = timedelta(days=7)
# What gloo, NCCL and the store say about a process that is gone.
_CONNECTION = re.compile(r"gloo|nccl|connection|socket|broken pipe|timed out", re.IGNORECASE)
_GO_ON = "go on with RESUME auto"


class _Job:
    """What this process knows of the job that torchrun started; like the process group, there is one a process.

    Attributes:
        store: the key-value store all processes share, kept because a later process group needs it again.
        runs: process groups made so far.
        first_to_fail: the answer of :func:`first_to_fail` in the current run, once it was asked.
        liveness: watches the other processes of the current run.
    """

    store: dist.Store | None = None
    runs: int = 0
    first_to_fail: bool | None = None
    liveness: Liveness | None = None


_job = _Job()


def init_from_env(device: str = "auto", silence: timedelta = SILENCE) -> torch.device:
    """Join the processes that torchrun started (RANK, WORLD_SIZE, LOCAL_RANK) and choose this process's device.

    Args:
        device: ``MODEL.DEVICE``: "auto" (CUDA when there is one), "cpu", "cuda" or "cuda:N".
        silence: how long the others may give no sign of life; then this process ends with a sentence.

    Returns:
        the device of this process; with several processes, each gets the GPU of its local rank.

    Raises:
        UserError: CUDA is asked for and there is none, or there are more local processes than GPUs.
        PeerLostError: the others do not come.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = choose_device(device, int(os.environ.get("LOCAL_RANK", "0")), world)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world > 1 and not is_active():
        _join(chosen, silence)
        logger.info("process %d of %d on %s", get_rank(), world, chosen)
    return chosen


def _join(device: torch.device, silence: timedelta) -> None:
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    try:
        if _job.store is None:
            store, _, _ = next(dist.rendezvous("env://", timeout=silence))
            _job.store = dist.PrefixStore(f"start{_restarts()}", store)
        _job.runs += 1
        _job.first_to_fail = None
        # A run finds no keys of the run before it in this job (``--repeat``).
        keys = f"run{_job.runs}"
        own = dist.TCPStore(
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timeout=silence, wait_for_workers=False
        )
        own_keys = dist.PrefixStore(f"liveness{_restarts()}/{keys}", own)
        _job.liveness = Liveness(own_keys, rank, world, silence.total_seconds(), _end_alone)
        set_voice(_first_to_fail_soon)
    except dist.DistError as error:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise PeerLostError(
            f"the {world} processes of the run do not all meet at {place} within {silence.total_seconds():g} s "
            f"(DIST.TIMEOUT_MINUTES): {str(error).splitlines()[0]}"
        ) from error
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        store=dist.PrefixStore(keys, _job.store),
        rank=rank,
        world_size=world,
        timeout=_BUSY,
    )


def _end_alone(sentence: str) -> None:
    """Ends this process from another thread: the main one waits for a process that does not answer."""
    if _first_to_fail_soon():
        say(f"unreid: {sentence}; {_GO_ON}.")
    os._exit(1)


def _first_to_fail_soon() -> bool:
    """:func:`first_to_fail`, or True where the store does not answer: better said twice than never."""
    answers: list[bool] = []
    asking = threading.Thread(target=lambda: answers.append(first_to_fail()), daemon=True)
    asking.start()
    asking.join(2.0)
    return answers[0] if answers else True


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
    """Of several processes that fail, the first keeps its error; those that fail because of it get another.

    Raises:
        PeerFailedError: another process failed first.
        PeerLostError: another process is gone without a word.
    """
    try:
        yield
    except (PeerFailedError, PeerLostError):
        raise
    except Exception as error:
        if first_to_fail():
            if _job.liveness is not None and isinstance(error, RuntimeError) and _CONNECTION.search(str(error)):
                who = _job.liveness.silent() or "the connection to another process of the run broke"
                raise PeerLostError(f"{who}; {_GO_ON}.") from error
            raise
        logger.warning("this process ends because another one failed first")
        logger.debug("what it noticed: %s", error)
        raise PeerFailedError("another process of the run failed first") from error


def shutdown() -> None:
    """Leave the process group, if there is one."""
    if _job.liveness is not None:
        _job.liveness.close(failed=bool(_job.first_to_fail) or sys.exception() is not None)
        _job.liveness = None
    if is_active():
        dist.destroy_process_group()


def choose_device(device: str, local_rank: int = 0, world: int = 1) -> torch.device:
    """The device that ``MODEL.DEVICE`` or ``--device`` means; raises :class:`UserError` if there is none such."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise UserError(f"There is no device {device!r}: it is auto, cpu, cuda or cuda:N.") from None
    if chosen.type != "cuda":
        return chosen
    count = torch.cuda.device_count()
    index = local_rank if world > 1 else (chosen.index or 0)
    if index >= count:
        found = f"there are {count} CUDA devices" if count else "torch finds no CUDA device"
        raise UserError(f"MODEL.DEVICE {device} needs CUDA device {index}, but {found}; set MODEL.DEVICE cpu or fewer.")
    return torch.device("cuda", index)
