"""Notices processes of a run that died or froze, and tells them from those that are only busy.

Every process counts up a number in the store that all share, once a second, from a thread of its own. A process that
clusters for an hour goes on counting; one that is dead, stopped or cut off does not.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable

import torch.distributed as dist

INTERVAL = 1.0
"""Seconds between two counts; a tenth of the limit where that is less."""
_GOODBYE = 1 << 40


class Liveness:
    """Watches the other processes.

    Args:
        store: of the run, through a connection of this object's own: a call may block where its server is frozen.
        limit: seconds that a process may be silent.
        lost: called in a thread, with one sentence, when one was silent for longer; it ends this process.
    """

    def __init__(self, store: dist.Store, rank: int, world: int, limit: float, lost: Callable[[str], None]) -> None:
        self.rank = rank
        self.limit = limit
        self.interval = min(INTERVAL, limit / 10)
        self._lost = lost
        self._store = store
        self._others = [other for other in range(world) if other != rank]
        self._silent = dict.fromkeys(self._others, 0.0)
        self._counts = dict.fromkeys(self._others, -1)
        self._places: dict[int, str] = {}
        self._done = threading.Event()
        store.set(f"place{rank}", f"{socket.gethostname()}, process {os.getpid()}")
        for work in (self._count, self._watch):
            threading.Thread(target=work, name="liveness", daemon=True).start()

    def close(self, *, failed: bool) -> None:
        """Stops watching and counting; the others no longer wait for this process, unless it ``failed``."""
        self._done.set()
        if not failed:
            saying = threading.Thread(target=self._say_goodbye, daemon=True)
            saying.start()
            saying.join(1.0)

    def silent(self) -> str:
        """Waits for a few counts; a sentence about the processes that have missed them, or ""."""
        self._done.wait(6 * self.interval)
        missing = [other for other in self._others if self._silent[other] > 4 * self.interval]
        return f"{self._names(missing)} died or cannot be reached any more" if missing else ""

    def _names(self, ranks: list[int]) -> str:
        known = {rank: f" ({self._places[rank]})" for rank in ranks if rank in self._places}
        return ", ".join(f"rank {rank}{known.get(rank, '')}" for rank in ranks)

    def _count(self) -> None:
        """Talks to the store, which may take for ever where the process that keeps it is frozen."""
        with contextlib.suppress(RuntimeError):  # the store is gone: the counts stand still, which is what is watched
            while not self._done.wait(self.interval):
                self._store.add(f"count{self.rank}", 1)
                for other in list(self._others):
                    self._look(other)

    def _look(self, other: int) -> None:
        count = self._store.add(f"count{other}", 0)
        if count == self._counts[other]:
            return
        if other not in self._places and self._store.check([f"place{other}"]):
            self._places[other] = self._store.get(f"place{other}").decode()
        self._counts[other] = count
        self._silent[other] = 0.0
        if count >= _GOODBYE:
            self._others.remove(other)

    def _say_goodbye(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._store.add(f"count{self.rank}", _GOODBYE)

    def _watch(self) -> None:
        """Adds up the silence while this process runs: time in which it was stopped itself does not count."""
        before = time.monotonic()
        while not self._done.wait(self.interval):
            now = time.monotonic()
            for other in self._others:
                self._silent[other] += min(now - before, 2 * self.interval)
            before = now
            gone = [other for other in self._others if self._silent[other] > self.limit]
            if gone and not self._done.is_set():
                self._lost(
                    f"no sign of life from {self._names(gone)} for {self.limit:g} s (DIST.TIMEOUT_MINUTES): dead, "
                    "stopped or cut off"
                )
                return
