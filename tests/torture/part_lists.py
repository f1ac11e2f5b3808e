"""Folder layouts, lists and manifests with faults: nothing lost or merged in silence, no test image trained on."""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.torture.lists_folders import across_datasets, own_folders
from tests.torture.lists_layouts import msmt17_lists, named_layout, video_layout
from tests.torture.lists_manifests import manifest
from tests.torture.tally import Tally
from unreid.utils.errors import UserError

TITLE = "folder layouts, lists and manifests, most with a fault"
EXPECTED = "all images, identities and cameras kept or counted in the log, or one sentence; no test image trained on"
COUNT = 2000
SLICE = 120

Trial = Callable[[random.Random, Path, list[str]], str]
"""Builds something below a folder and reads it; the list fills with the log. Returns a note, raises AssertionError."""

TRIALS: tuple[Trial, ...] = (
    named_layout,
    msmt17_lists,
    video_layout,
    own_folders,
    across_datasets,
    manifest,
    manifest,
    manifest,
)


def run(count: int, seed: int, folder: Path) -> Tally:
    """Trials in turn, each from a seed of its own."""
    tally = Tally()
    for number in range(count):
        trial = TRIALS[number % len(TRIALS)]
        place = folder / str(number)
        place.mkdir()
        name = f"{trial.__name__}, seed {seed}, trial {number}"
        with recorded() as log:
            try:
                tally.passed(trial(random.Random(f"{seed} {number}"), place, log))
            except AssertionError as error:
                tally.failed(f"{name}: {error}")
            except UserError as error:
                tally.failed(f"{name}: refused without need: {error}")
            except Exception as error:  # what a trial must never end with
                tally.failed(f"{name}: {type(error).__name__}: {error}")
        shutil.rmtree(place)
    return tally


@contextmanager
def recorded() -> Iterator[list[str]]:
    """The warnings of the package, kept from the terminal."""
    messages: list[str] = []

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger = logging.getLogger("unreid")
    handler, before = Recorder(logging.WARNING), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield messages
    finally:
        logger.removeHandler(handler)
        logger.propagate = before
