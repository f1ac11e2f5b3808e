"""Processes that share what their parent has imported."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def fork(work: Callable[[], int]) -> int:
    """Runs ``work`` in a fork that leads a group of its own and ends with this process; returns its number."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setsid()
            if sys.platform == "linux":
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            status = work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def wait(child: int, seconds: float) -> int | None:
    """The exit status of a fork; ``None`` when it had to be stopped after so many seconds."""
    deadline = time.monotonic() + seconds
    pause = 0.005
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # what it started and left behind
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            stop(child)
            return None
        time.sleep(pause)
        pause = min(2 * pause, 0.1)


def stop(child: int) -> None:
    """Ends a fork and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)
