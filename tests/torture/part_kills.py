"""kill -9 at random moments; the run goes on with RESUME auto."""

from __future__ import annotations

import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from tests.torture.children import Child, server
from tests.torture.tally import Tally
from tests.torture.tiny import METHODS, arguments, differences

TITLE = "kill -9 at a random moment of a run, every third one while a file is being written; then RESUME auto"
EXPECTED = "weights, memory, optimiser, labels, scores and metrics equal those of the uninterrupted run, bit for bit"
COUNT = 100
SLICE = 2


@dataclass(frozen=True)
class Whole:
    """An uninterrupted run and its seconds."""

    folder: Path
    seconds: float


def whole_run(method: str, folder: Path, *overrides: str) -> Whole:
    """Runs a method to its end; the data set is rendered before the clock starts."""
    output = folder / f"{method}_whole"
    seconds = 0.0
    for name in ("first", "second"):  # the first renders, and whatever else is done once
        place = folder / f"{method}_{name}" if name == "first" else output
        started = time.monotonic()
        child = server().run(arguments(method, folder / "data", place, *overrides), folder / "whole.out")
        status = child.wait()
        seconds = time.monotonic() - started
        if status != 0:
            raise RuntimeError(f"{method} ends with {status} without any fault: {child.words()[-2000:]}")
    return Whole(output, seconds)


def run(count: int, seed: int, folder: Path) -> Tally:
    """Kills runs of all methods in turn."""
    tally, chance = Tally(), random.Random(seed)
    methods = list(METHODS)[: max(1, min(count // 2, len(METHODS)))]
    wholes = {method: whole_run(method, folder) for method in methods}
    for trial in range(count):
        method = methods[trial % len(methods)]
        output, how, share = folder / f"trial{trial}", "had ended", 1.0
        while how == "had ended":  # a machine that is less busy than before: earlier, then
            shutil.rmtree(output, ignore_errors=True)
            child = server().run(arguments(method, folder / "data", output), folder / "trial.out")
            moment = chance.uniform(0, share * wholes[method].seconds)
            how = _kill_in_a_write(child, output, moment) if trial % 3 == 2 else _kill_after(child, moment)
            share *= 0.7
        after = server().run(arguments(method, folder / "data", output, "RESUME", "auto"), folder / "resumed.out")
        status = after.wait()
        problems = differences(wholes[method].folder, output) if status == 0 else [after.words()[-600:]]
        if status == 0 and not problems:
            tally.passed(how)
        else:
            tally.failed(f"trial {trial} (seed {seed}), {method}, {how} after {moment:.3f} s: {status} {problems}")
    return tally


def _kill_after(child: Child, seconds: float) -> str:
    time.sleep(seconds)
    child.kill()
    return "killed" if child.wait() == -9 else "had ended"


def _kill_in_a_write(child: Child, output: Path, seconds: float) -> str:
    """The first unfinished file after ``seconds`` is the moment."""
    limit = time.monotonic() + 30
    time.sleep(seconds)
    while time.monotonic() < limit:
        if output.is_dir() and any(path.name.endswith(".tmp") for path in output.iterdir()):
            child.kill()
            return "killed in a write" if child.wait() == -9 else "had ended"
        if child.server.ask({"ended": child.pid}):
            break
    return "had ended"
