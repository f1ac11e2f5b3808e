"""What long work says about itself: the log is never silent for a minute, on a terminal or not, and says what is left.

A piece of work is a :func:`task`; tasks may lie inside each other, and the innermost one speaks. A thread writes the
lines while the work goes on, so that a single call that takes an hour is heard of as well.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Self, TypeVar

from unreid.utils.logging import last_line

logger = logging.getLogger(__name__)

PERIOD = 45.0
"""Seconds without a line of the log after which one is written."""

T = TypeVar("T")


@dataclass(eq=False)
class Task:
    """A piece of work under way, which is reported while the block of its ``with`` lasts.

    Args:
        what: a few words, such as "features".
        total: units of the whole; 0: not known.
        unit: what is counted, in the plural.
        done: units that were done before it began; they say nothing about its speed.
        expected: seconds that the same work took before, or None.
        measure: counts what is done, where the work itself cannot; called when a line is due.

    Example:
        >>> with task("features", 3, "images") as work:
        ...     for _ in range(3):
        ...         work.advance()
        >>> work.done
        3
    """

    what: str
    total: int = 0
    unit: str = ""
    _: KW_ONLY
    done: int = 0
    expected: float | None = None
    measure: Callable[[], int] | None = None

    def __post_init__(self) -> None:
        self._before = self.done
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        _reporter.open(self)
        return self

    def __exit__(self, *_: object) -> None:
        _reporter.close(self)

    def advance(self, units: int = 1) -> None:
        """Counts what has been done."""
        self.done += units

    def left(self) -> float | None:
        """Seconds that are left, as far as one can tell."""
        spent = time.monotonic() - self._started
        if self.measure is not None:
            self.done = self.measure()
        if self.total and self.done > self._before:
            return spent * max(self.total - self.done, 0) / (self.done - self._before)
        if self.expected is not None and self.expected > spent:
            return self.expected - spent
        return None

    def sentence(self) -> str:
        """How far it is."""
        left = self.left()
        parts = [self.what]
        if self.total:
            parts.append(f"{self.done:,} of {self.total:,} {self.unit}".rstrip())
        parts.append(f"{duration(time.monotonic() - self._started)} so far")
        if left is not None:
            parts.append(f"about {duration(left)} left")
        elif self.expected is not None:
            parts.append(f"longer than before ({duration(self.expected)})")
        return ", ".join(parts)


task = Task


class _Reporter:
    """The thread that writes; it sleeps while there is no task."""

    def __init__(self) -> None:
        self._tasks: list[Task] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def open(self, work: Task) -> None:
        with self._changed:
            self._tasks.append(work)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
                self._thread.start()
            if len(self._tasks) == 1:
                self._changed.notify()

    def close(self, work: Task) -> None:
        with self._changed:
            self._tasks.remove(work)

    def _run(self) -> None:
        began = time.monotonic()
        while True:
            with self._changed:
                while not self._tasks:
                    self._changed.wait()
                    began = time.monotonic()
                outer, inner = self._tasks[0], self._tasks[-1]
            wait = max(began, last_line()) + PERIOD - time.monotonic()
            if wait > 0:
                time.sleep(min(wait, 1.0))
                continue
            began = time.monotonic()
            about = "" if outer is inner else f"{outer.what}: "
            logger.info("%s%s", about, inner.sentence())


_reporter = _Reporter()
if hasattr(os, "register_at_fork"):  # a forked process has the tasks of its parent, and not the thread
    os.register_at_fork(after_in_child=_reporter.__init__)  # type: ignore[misc]


def tracked(
    items: Iterable[T],
    what: str,
    total: int,
    unit: str = "",
    *,
    done: int = 0,
    size: Callable[[T], int] = lambda item: 1,
) -> Iterator[T]:
    """``items``, reported while they are gone through.

    Args:
        size: units that an item counts for.
    """
    with task(what, total, unit, done=done) as work:
        for item in items:
            yield item
            work.advance(size(item))


def duration(seconds: float) -> str:
    """A length of time in two units at most.

    Example:
        >>> duration(7.4), duration(130), duration(7300), duration(200_000)
        ('7 s', '2 min 10 s', '2 h 2 min', '2 d 8 h')
    """
    whole = max(round(seconds), 0)
    for size, name, smaller, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name}" + (f" {rest} {part}" if rest else "")
    return f"{whole} s"
