"""Trial runs in forked children: a process that has everything imported forks one within milliseconds.

The server is a fresh process of one thread (a fork of a process with thread pools may hang), started on first use and
shared by all parts; it ends with the process that uses it.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass
class Child:
    """One run of a command in a child; ``output`` gets what it prints on standard output and error."""

    pid: int
    output: Path
    server: Server

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal; the child may have ended."""
        if not self.server.ask({"ended": self.pid}):
            os.kill(self.pid, number)

    def wait(self, seconds: float = 120.0) -> int | None:
        """The exit status, -N when signal N ended it, or None if it still runs after so long (it is killed then)."""
        status = self.server.ask({"wait": self.pid, "seconds": seconds})
        if status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.server.ask({"wait": self.pid, "seconds": 10.0})
        return status

    def words(self) -> str:
        """What it has printed."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def sentence(self) -> str:
        """The line that it ends with on standard error, "" without one; ValueError for a traceback or several lines."""
        lines = [line for line in self.words().splitlines() if line.startswith("unreid: ")]
        noise = [word for word in ("Traceback", "Logging error", "Exception ignored", "gloo/") if word in self.words()]
        if noise or len(lines) > 1:
            raise ValueError(f"{', '.join(noise) or 'several sentences'}: {self.words()[-600:]}")
        return lines[0] if lines else ""


class Server:
    """Talks to the process that forks."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=ROOT,
            text=True,
        )

    def ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def run(
        self,
        arguments: list[str],
        output: Path,
        *,
        entry: str = "unreid.engine.cli:run_main",
        setup: str = "",
        **environment: str,
    ) -> Child:
        """Calls ``entry(arguments)``, after ``setup()``, in a child; both are ``module:function``."""
        calls = {"entry": entry, "setup": setup, "environment": environment}
        question = {"run": arguments, "output": str(output), **calls}
        return Child(self.ask(question), output, self)


@functools.cache
def server() -> Server:
    """The server of this process."""
    return Server()


def _serve() -> None:
    import cv2
    import matplotlib.figure  # noqa: F401
    import sklearn.cluster  # noqa: F401
    import torch

    import unreid.engine.run  # noqa: F401

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    statuses: dict[int, int] = {}
    for line in sys.stdin:
        question = json.loads(line)
        answer: Any
        if "run" in question:
            answer = _fork(question)
        elif "ended" in question:
            answer = _reap(question["ended"], statuses, 0.0) is not None
        else:
            answer = _reap(question["wait"], statuses, question["seconds"])
        print(json.dumps(answer), flush=True)


def _fork(question: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        handle = os.open(question["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        null = os.open(os.devnull, os.O_RDONLY)
        for own, new in ((0, null), (1, handle), (2, handle)):
            os.dup2(new, own)
        os.environ.update(question["environment"])
        if question["setup"]:
            _function(question["setup"])()
        status = _function(question["entry"])(question["run"])
    except KeyboardInterrupt:  # a signal before the command began
        status = 128 + signal.SIGINT
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _function(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def _reap(pid: int, statuses: dict[int, int], seconds: float) -> int | None:
    limit = time.monotonic() + seconds
    while pid not in statuses:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            statuses[pid] = os.waitstatus_to_exitcode(status)
        elif time.monotonic() >= limit:
            return None
        else:
            time.sleep(0.002)
    return statuses[pid]


if __name__ == "__main__":
    _serve()
