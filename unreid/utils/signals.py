"""SIGTERM, SIGHUP and Ctrl-C: one rule for every command.

Where nothing is to be saved, the process ends at once: :class:`Interrupted` rises in the main thread and carries the
sentence for the user. A run with progress that is on no disk yet stops at its next safe point instead
(:func:`stopping_later`), and a second signal ends it at once.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

EXIT_INTERRUPTED = 130
"""Exit status of everything that a signal ended."""

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SAME_STOP = 1.0
"""Seconds in which further signals belong to the first: Ctrl-C reaches every process of a terminal, and torchrun sends
its own after it."""
PATIENCE = 5.0
"""Seconds that the main thread gets to end by itself; it may sit in a long computation outside Python."""


class Interrupted(KeyboardInterrupt):
    """The process was asked to end; the message is one sentence for the user."""


Decision = Callable[[str], str | None]
"""Name of the signal -> the sentence with which the process ends at once, or None: it will stop by itself."""


class _State:
    """Of this process: handlers are installed or not, who decides, and when the first signal came."""

    installed: bool = False
    decide: Decision | None = None
    speaks: Callable[[], bool] | None = None
    first: float | None = None
    number: int = signal.SIGTERM
    sentence: str = ""
    again: threading.Timer | None = None


_state = _State()


@contextlib.contextmanager
def stop_signals() -> Iterator[None]:
    """The block ends on SIGTERM, SIGHUP and Ctrl-C as described above.

    Blocks may nest; in threads other than the main one they do nothing.

    A signal that was ignored before stays ignored (``nohup``), except Ctrl-C, which background jobs ignore.

    Raises:
        Interrupted: such a signal came.
    """
    if _state.installed or threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.installed, _state.first = True, None
    ours = [n for n in SIGNALS if n == signal.SIGINT or signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _handle) for number in ours}
    unraisable, sys.unraisablehook = sys.unraisablehook, _unraisable(sys.unraisablehook)
    try:
        with _watched(set(map(int, ours))):
            yield
    finally:
        if _state.again is not None:  # the block has ended: nobody needs to be told again
            _state.again.cancel()
            _state.again = None
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        _state.installed = False


@contextlib.contextmanager
def stopping_later(decide: Decision) -> Iterator[None]:
    """Within :func:`stop_signals`: the block is asked what a first signal does."""
    before, _state.decide = _state.decide, decide
    try:
        yield
    finally:
        _state.decide = before


def set_voice(speaks: Callable[[], bool]) -> None:
    """Of several processes that a signal ends, those speak for which ``speaks`` says so."""
    _state.speaks = speaks


def stop_name() -> str:
    """Name of the signal that the current :func:`stop_signals` has got, "" without one."""
    return signal.Signals(_state.number).name if _state.first is not None else ""


def _ending(name: str) -> str | None:
    """The sentence if the first signal ends the process at once."""
    return f"stopped by {name}" if _state.decide is None else _state.decide(name)


def _handle(number: int, frame: FrameType | None) -> None:
    name = signal.Signals(number).name
    now = time.monotonic()
    if _state.first is None:
        _state.first, _state.number = now, number
        sentence = _ending(name)
        if sentence is None:
            return
    elif now - _state.first < SAME_STOP:
        return
    else:
        sentence = f"stopped at once by a second signal ({name})"
    _state.sentence, _state.number = sentence, number
    raise Interrupted(sentence)


@contextlib.contextmanager
def _watched(numbers: set[int]) -> Iterator[None]:
    """A thread that sees signals while the main thread is in a computation that does not return to Python for long."""
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    before = signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    done = threading.Event()
    thread = threading.Thread(target=_watch, args=(ours, numbers, done), name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        done.set()
        os.close(theirs)  # wakes the thread
        thread.join()
        os.close(ours)


def _watch(pipe: int, numbers: set[int], done: threading.Event) -> None:
    first: float | None = None
    deadline: float | None = None
    name = ""
    while not done.is_set():
        left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        if not select.select([pipe], [], [], left)[0]:
            _end(name)
        for number in os.read(pipe, 64):
            if number not in numbers:
                continue
            now, name = time.monotonic(), signal.Signals(number).name
            if first is None:
                first = now
                at_once = _ending(name) is not None
            else:
                at_once = now - first >= SAME_STOP
            if at_once and deadline is None:
                deadline = now + PATIENCE


def _end(name: str) -> None:
    """Ends the process from another thread: the main one does not react."""
    if _state.speaks is None or _state.speaks():
        say(f"unreid: {_state.sentence or f'stopped by {name}'}")
    os._exit(EXIT_INTERRUPTED)


def hurry_at_exit() -> None:
    """The process was asked to end and is about to: while Python takes itself down, further signals only hurry it.

    Their own handlers would change the exit status, or end in a traceback.
    """
    atexit.register(_hurry)  # what is registered last runs first


def _hurry() -> None:
    for number in SIGNALS:
        with contextlib.suppress(ValueError):  # Python is taken down by another thread than the main one
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: os._exit(EXIT_INTERRUPTED))


def say(sentence: str) -> None:
    """One line on standard error, which may be closed."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(sentence, file=sys.stderr, flush=True)  # noqa: T201


def _unraisable(hook: Callable[[Any], Any]) -> Callable[[Any], None]:
    """An :class:`Interrupted` that rises where Python drops exceptions (``__del__``) is raised again a moment later."""

    def handle(found: Any) -> None:
        if not isinstance(found.exc_value, Interrupted):
            hook(found)
            return
        _state.first = None
        _state.again = threading.Timer(0.05, os.kill, (os.getpid(), _state.number))
        _state.again.start()

    return handle


def _forget() -> None:
    """A forked child ends on signals as if there were no handlers, and does not wake its parent's thread."""
    if _state.installed:
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        _state.installed = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
