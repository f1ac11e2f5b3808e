"""What SIGTERM, SIGHUP and Ctrl-C do, by the state of the work."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from unreid.utils import signals
from unreid.utils.signals import Interrupted, stop_signals, stopping_later

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def nothing_is_ignored() -> Iterator[None]:
    """Whatever ran the tests may have told them to ignore some (``nohup``), and the rule respects that."""
    before = {each: signal.getsignal(each) for each in signals.SIGNALS}
    for each, handler in before.items():
        if handler is signal.SIG_IGN:
            signal.signal(each, signal.SIG_DFL)
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_the_block_ends_at_once_and_the_handlers_are_put_back(number: int) -> None:
    before = [signal.getsignal(each) for each in signals.SIGNALS]
    with pytest.raises(Interrupted, match=f"stopped by {signal.Signals(number).name}"), stop_signals():
        send(number)
    assert [signal.getsignal(each) for each in signals.SIGNALS] == before
    assert not any(thread.name == "signals" for thread in threading.enumerate())


def test_work_that_is_not_saved_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "SAME_STOP", 0.2)
    asked: list[str] = []
    with pytest.raises(Interrupted, match="second signal"), stop_signals(), stopping_later(asked.append):
        send(signal.SIGTERM)
        send(signal.SIGTERM)  # torchrun's echo
        assert set(asked) == {"SIGTERM"}
        time.sleep(0.3)
        send(signal.SIGINT)
    assert len(asked) <= 2  # the handler, and the thread that watches


def test_blocks_nest_and_a_new_one_starts_afresh() -> None:
    for _ in range(2):
        with pytest.raises(Interrupted), stop_signals(), stop_signals():
            send(signal.SIGHUP)


def test_what_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals():
            send(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_are_left_alone() -> None:
    def work() -> None:
        with stop_signals():
            found.append(signal.getsignal(signal.SIGTERM))

    found: list[object] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]


def test_an_interruption_that_python_drops_comes_again() -> None:
    class Closing:
        def __del__(self) -> None:
            send(signal.SIGTERM)

    with pytest.raises(Interrupted), stop_signals():
        Closing()
        gc.collect()
        time.sleep(2)
        pytest.fail("the signal was lost")


def test_a_forked_child_is_not_touched() -> None:
    with stop_signals():
        child = os.fork()
        if not child:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        time.sleep(0.1)


STUCK = """
import hashlib, sys
sys.path.insert(0, {root!r})
from unreid.utils import signals
signals.PATIENCE = 0.3
with signals.stop_signals():
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10**9)  # minutes in C
"""


def test_a_computation_outside_python_does_not_hold_it_up() -> None:
    """The main thread never gets to its handler; another one ends the process."""
    command = [sys.executable, "-c", STUCK.format(root=str(ROOT))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        time.sleep(0.2)
        child.send_signal(signal.SIGTERM)
        _, words = child.communicate(timeout=20)
    assert (child.returncode, words) == (130, "unreid: stopped by SIGTERM\n")


@pytest.mark.parametrize("second", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_while_an_interrupted_process_ends_changes_nothing(tmp_path: Path, second: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"import atexit, os, signal, sys, time\nsys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from unreid.engine.cli import guarded\n"
        f"atexit.register(lambda: (os.kill(os.getpid(), signal.{second}), time.sleep(5)))\n"
        "def command():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(5)\n"
        "sys.exit(guarded(command))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "unreid: stopped by SIGTERM\n")
