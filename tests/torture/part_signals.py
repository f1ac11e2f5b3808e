"""SIGTERM, SIGINT and SIGHUP at random moments, one or two of them; the run goes on with RESUME auto."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from tests.torture.children import Child, server
from tests.torture.part_kills import whole_run
from tests.torture.tally import Tally
from tests.torture.tiny import METHODS, arguments, differences
from unreid.utils.signals import SAME_STOP

TITLE = "SIGTERM, SIGINT or SIGHUP at a random moment: rendering, reading, training, labelling, evaluating; also twice"
EXPECTED = "status 130 and one sentence within seconds; RESUME auto ends as the uninterrupted run, bit for bit"
COUNT = 50
SLICE = 2
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SOON = 30.0  # seconds, on a busy machine


def run(count: int, seed: int, folder: Path) -> Tally:
    """Interrupts runs of some methods in turn; every fifth renders its data first, every seventh only evaluates."""
    tally, chance = Tally(), random.Random(seed)
    methods = list(METHODS)[: max(1, min(count // 4, 4))]
    wholes = {method: whole_run(method, folder, *_more(method)) for method in methods}
    for trial in range(count):
        method = methods[trial % len(methods)]
        output, whole = folder / f"trial{trial}", wholes[method]
        data = folder / (f"data{trial}" if trial % 5 == 4 else "data")
        only = ["TEST.EVAL_ONLY", "True", "RESUME", str(whole.folder / "checkpoint.pth")] if trial % 7 == 6 else []
        child = server().run(arguments(method, data, output, *_more(method), *only), folder / "trial.out")
        moment = chance.uniform(0, whole.seconds * (0.3 if only else 1.0))
        number, twice = chance.choice(SIGNALS), chance.random() < 0.3
        problem = _interrupt(child, moment, number, twice)
        note = _note(child, only)
        if not problem and not only:
            after = server().run(
                arguments(method, data, output, *_more(method), "RESUME", "auto"), folder / "resumed.out"
            )
            status = after.wait()
            problem = str(differences(whole.folder, output) or "") if status == 0 else after.words()[-600:]
        if problem:
            which = f"{number.name}{' twice' if twice else ''} after {moment:.3f} s"
            tally.failed(f"trial {trial} (seed {seed}), {method}, {which}: {problem}")
        else:
            tally.passed(note)
    return tally


def _more(method: str) -> tuple[str, ...]:
    """Checkpoints that are not of every epoch: progress that is on no disk yet."""
    return ("CHECKPOINT.PERIOD", "2") if method == "CDSM_synthetic" else ()


def _interrupt(child: Child, moment: float, number: signal.Signals, twice: bool) -> str:
    """Sends the signal; what is wrong with the way the child ends."""
    time.sleep(moment)
    child.kill(number)
    if twice:
        time.sleep(SAME_STOP + 0.2)
        child.kill(number)
    status = child.wait(SOON)
    if status in (-number, 128 + signal.SIGINT) and not child.words():
        return ""  # before the command began
    try:
        sentence = child.sentence()
    except ValueError as error:
        return f"status {status}, {error}"
    if status == 0:
        return f"a sentence, but status 0: {sentence}" if sentence else ""
    return "" if status == 130 and sentence else f"status {status}, {sentence!r}: {child.words()[-600:]}"


def _note(child: Child, only: list[str]) -> str:
    words = child.words()
    if "unreid: " not in words:
        return "had ended" if words else "not begun"
    if only:
        return "in an evaluation"
    return "before the first step" if "before the first step" in words or "RESUME" not in words else "later"
