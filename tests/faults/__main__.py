"""Puts every fault into a copy of the checkout, one at a time, and says whether its tests notice.

Example::

    python -m tests.faults                        # all: those never put in first, then the longest ago
    python -m tests.faults engine/rounds.py optim # those whose line contains one of the words
    python -m tests.faults --untried engine/      # those of them that were never put in
    python -m tests.faults --drawn 100 --seed 1   # faults that nobody thought of
    python -m tests.faults --table                # what is known, by room
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from tests.faults.checkout import Checkout, copied
from tests.faults.drawn import drawn
from tests.faults.fault import Fault
from tests.faults.faults import FAULTS
from tests.faults.record import DRAWN, LISTED, Record
from tests.faults.trial import Outcome, Unsound, outcomes

# Imported once, here: every trial is a fork of this process.
HEAVY = (
    "torch",
    "torchvision.models",
    "torchvision.transforms",
    "torch.utils.tensorboard",
    "scipy.sparse.csgraph",
    "scipy.optimize",
    "sklearn.cluster",
    "sklearn.metrics",
    "faiss",
    "PIL.Image",
    "yacs.config",
    "timm",
    "cv2",
)


def main(words: list[str] | None = None) -> int:
    """Returns 0 when the tests pass without a fault and every fault is noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Do the tests notice?")
    parser.add_argument("words", nargs="*", help="only faults whose line contains one of them")
    parser.add_argument("--untried", action="store_true", help="only faults that were never put in")
    parser.add_argument("--missed", action="store_true", help="only faults that were not noticed last")
    parser.add_argument("--drawn", type=int, metavar="N", help="put in N faults that are drawn, not those of the list")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--table", action="store_true", help="print what is known of the faults of each room")
    asked = parser.parse_args(words)
    record = Record(DRAWN if asked.drawn else LISTED)
    if asked.table:
        print(f"{record.table(FAULTS)}\n\n{Record(DRAWN).expectation()}")
        return 0
    faults = drawn(asked.drawn, asked.seed) if asked.drawn else FAULTS
    chosen = [fault for fault in faults if not asked.words or any(word in str(fault) for word in asked.words)]
    if asked.missed:
        chosen = [fault for fault in chosen if record.missed(fault)]
    elif asked.untried or asked.drawn:
        chosen = record.untried(chosen)
    for name in HEAVY:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    with copied() as checkout:
        status = _put_in(checkout, chosen if asked.drawn else record.next(chosen), record)
    if asked.drawn:
        print(record.expectation())
    return status


def _put_in(checkout: Checkout, faults: Sequence[Fault], record: Record) -> int:
    put_in = missed = 0
    try:
        for fault, outcome in outcomes(checkout, faults):
            record.add(fault, outcome)
            put_in += 1
            missed += not outcome.noticed
            print(line(fault, outcome), flush=True)
    except Unsound as error:
        print(f"{error}\nmend that first")
    print(f"{put_in} faults put in, {missed} not noticed, {len(faults) - put_in} not put in")
    return 1 if missed or put_in < len(faults) else 0


def line(fault: Fault, outcome: Outcome) -> str:
    word = "noticed" if outcome.noticed else "NOT NOTICED"
    return f"{word:12}{outcome.seconds:6.1f} s  {fault}{'  by ' * outcome.noticed}{outcome.by}"


if __name__ == "__main__":
    sys.exit(main())
