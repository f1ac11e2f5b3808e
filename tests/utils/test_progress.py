"""Long work is heard of while it lasts, without a terminal."""

from __future__ import annotations

import logging
import subprocess
import sys
import time

import pytest

from unreid.utils import progress
from unreid.utils.events import EventStorage
from unreid.utils.logging import close_logging, last_line, setup_logging
from unreid.utils.progress import Task, duration, task, tracked


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(progress, "PERIOD", 0.2)
    caplog.set_level(logging.INFO, "unreid.utils.progress")
    return caplog


def test_one_long_call_is_heard_of(impatient: pytest.LogCaptureFixture) -> None:
    with task("cluster"):
        time.sleep(1.0)  # many periods: a busy machine wakes late
    assert 2 <= len(impatient.messages) <= 5
    assert impatient.messages[0].startswith("cluster, ") and "so far" in impatient.messages[0]
    time.sleep(0.5)
    assert len(impatient.messages) <= 5, "nothing is said when nothing is done"


def test_the_innermost_says_how_far_it_is(impatient: pytest.LogCaptureFixture) -> None:
    with task("extract"):
        for _ in tracked(range(10), "features", 1000, "images", size=lambda item: 100):
            time.sleep(0.08)
    found = impatient.messages[-1]
    assert found.startswith("extract: features, ") and "00 of 1,000 images" in found and "left" in found


def test_a_log_that_speaks_anyway_is_left_alone(
    impatient: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "last_line", time.monotonic)
    with task("train"):
        time.sleep(0.7)
    assert not impatient.messages


def test_every_line_of_the_log_counts() -> None:
    setup_logging()
    try:
        before = time.monotonic()
        logging.getLogger("unreid.x").info("step")
        assert before <= last_line() <= time.monotonic()
    finally:
        close_logging()


def test_what_the_last_time_took_says_what_is_left(
    impatient: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = EventStorage()
    with storage.phase("cluster"):
        pass
    storage._lasted["cluster"] = 61.0
    with storage.phase("cluster"):
        time.sleep(0.3)
    assert "about 1 min" in impatient.messages[0]


def test_units_done_before_say_nothing_about_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    work = Task("epoch", 100, "steps", done=90)
    assert work.left() is None
    now[0] += 10
    work.advance(5)
    assert work.left() == pytest.approx(10)
    counted = Task("rendering", 8, "images", measure=lambda: 2)
    now[0] += 6
    assert counted.left() == pytest.approx(18)
    assert counted.sentence() == "rendering, 2 of 8 images, 6 s so far, about 18 s left"


def test_a_failure_ends_the_task(impatient: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError), task("one"):
        raise ValueError
    time.sleep(0.4)
    assert not impatient.messages


def test_durations_are_short() -> None:
    assert [duration(s) for s in (0.2, 59.6, 3600, 90_000, -1)] == ["0 s", "1 min", "1 h", "1 d 1 h", "0 s"]


def test_a_forked_process_speaks_for_itself() -> None:
    code = """
import logging, os, sys, time
from unreid.utils import progress
progress.PERIOD = 0.1
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
with progress.task("parent"):
    child = os.fork()
    if child == 0:
        with progress.task("child"):
            time.sleep(0.4)
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert any(line.startswith("child, ") for line in done.stdout.splitlines()), done.stdout
