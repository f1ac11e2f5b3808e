"""The parts of the harness: every module ``part_*.py`` of this folder is one.

A module has ``TITLE`` (what is tried, for the table), ``EXPECTED`` (how a trial must end, for the table), ``COUNT``
(trials of ``make torture``), ``SLICE`` (trials in the suite, a few seconds) and ``run(count, seed, folder) -> Tally``,
where ``folder`` is an empty folder that is removed afterwards.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.torture.tally import Tally


@dataclass(frozen=True)
class Part:
    """One kind of fault."""

    name: str
    title: str
    expected: str
    count: int
    slice: int
    run: Callable[[int, int, Path], Tally]


def _part(module: str) -> Part:
    found = importlib.import_module(f"tests.torture.{module}")
    return Part(module.removeprefix("part_"), found.TITLE, found.EXPECTED, found.COUNT, found.SLICE, found.run)


PARTS = [_part(file.stem) for file in sorted(Path(__file__).parent.glob("part_*.py"))]
