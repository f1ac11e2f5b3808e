"""One of two processes is killed or frozen at a random moment."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from pathlib import Path

from tests.torture.children import Child, server
from tests.torture.tally import Tally
from tests.torture.tiny import arguments

TITLE = "one of two processes (each in turn) killed or frozen (SIGSTOP) at a random moment"
EXPECTED = (
    "the other ends with one sentence that names it, a status other than 0, within the limit; nobody stays behind"
)
COUNT = 20
SLICE = 1
LIMIT = 4.0  # seconds without a sign of life
SOON = 40.0  # on a busy machine, with the waits that find out who is gone
METHOD = "ClusterContrast_synthetic"
LONG = ("OPTIM.EPOCHS", "60", "TEST.EVAL_PERIOD", "5", "DIST.TIMEOUT_MINUTES", str(LIMIT / 60))


def run(count: int, seed: int, folder: Path) -> Tally:
    """Starts pairs as torchrun does, by the environment."""
    tally, chance = Tally(), random.Random(seed)
    first = server().run(
        arguments(METHOD, folder / "data", folder / "first", "OPTIM.EPOCHS", "1"), folder / "first.out"
    )
    if first.wait() != 0:
        raise RuntimeError(first.words()[-2000:])
    for trial in range(count):
        lost, frozen = trial % 2, chance.random() < 0.5
        pair = _start(folder, trial)
        moment = chance.uniform(0.0, 4.0)
        time.sleep(moment)
        pair[lost].kill(signal.SIGSTOP if frozen else signal.SIGKILL)
        started = time.monotonic()
        other = pair[1 - lost]
        status = other.wait(SOON)
        seconds = time.monotonic() - started
        if frozen:
            os.kill(pair[lost].pid, signal.SIGKILL)
        pair[lost].wait(10.0)
        how = f"rank {lost} {'frozen' if frozen else 'killed'}"
        problem = _judge(other, status)
        if problem:
            tally.failed(f"trial {trial} (seed {seed}), {how} after {moment:.2f} s, {seconds:.1f} s later: {problem}")
        else:
            tally.passed("frozen" if frozen else "killed")
    return tally


def _start(folder: Path, trial: int) -> list[Child]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = arguments(METHOD, folder / "data", folder / f"trial{trial}", *LONG)
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    return [
        server().run(line, folder / f"rank{rank}.out", RANK=str(rank), LOCAL_RANK=str(rank), **place) for rank in (0, 1)
    ]


def _judge(other: Child, status: int | None) -> str:
    try:
        sentence = other.sentence()
    except ValueError as error:
        return f"status {status}: {error}"
    if status != 1:
        return f"status {status}: {other.words()[-600:]}"
    named = "rank" in sentence or "processes of the run do not all meet" in sentence
    return "" if named else f"{sentence!r}: {other.words()[-600:]}"
