"""The system refuses a write: every write of a training, an evaluation, a mining, a conversion and a rendering."""

from __future__ import annotations

import csv
import errno
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.torture.children import Child, server
from tests.torture.faults import calls
from tests.torture.tally import Tally
from tests.torture.tiny import arguments, differences

TITLE = (
    "a write refused (full disk, quota, read-only, I/O error), once or from then on: every kind of write of every "
    "command; a real limit of file sizes; a real small disk"
)
EXPECTED = (
    "one sentence with file and reason, status 2, or for pictures and logs a warning; no half file, old ones whole; "
    "with space again, RESUME auto ends as the undisturbed run"
)
COUNT = 150
SLICE = 3
METHOD = "ClusterContrast_synthetic"
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES)
FULL = (
    *("LOG.TENSORBOARD", "True", "LOG.CLUSTER_IMAGES", "2", "TEST.RANKED_LIST", "2", "CHECKPOINT.KEEP", "2"),
    *("OPTIM.EPOCHS", "2"),
)


@dataclass
class Command:
    """What is disturbed.

    Attributes:
        name: for messages.
        entry: ``module:function``.
        line: (folder for everything it writes) -> arguments.
        again: more arguments with which it goes on afterwards.
        calls: of an undisturbed run: its writes.
    """

    name: str
    entry: str
    line: Callable[[Path], list[str]]
    again: tuple[str, ...] = ()
    calls: list[tuple[str, str]] = field(default_factory=list)

    def start(self, place: Path, output: Path, *more: str, setup: str = "", **environment: str) -> Child:
        line = [*self.line(place), *more]
        return server().run(line, output, entry=self.entry, setup=setup, FAULT_ROOT=str(place), **environment)


def run(count: int, seed: int, folder: Path) -> Tally:
    """Disturbs every kind of call at least once, as far as ``count`` goes, and others at random."""
    tally, chance = Tally(), random.Random(seed)
    commands = _commands(folder, whole=count > 20)
    whole = folder / "whole"
    for command in commands:
        place = whole / command.name
        place.mkdir(parents=True)
        journal = folder / "journal"
        child = command.start(
            place, folder / "whole.out", setup="tests.torture.faults:install", FAULT_JOURNAL=str(journal)
        )
        if child.wait() != 0:
            raise RuntimeError(f"{command.name} fails without any fault: {child.words()[-2000:]}")
        command.calls = calls(journal)
    real = max(1, count // 10)
    for trial, (command, number) in enumerate(_chosen(commands, count - real, chance)):
        error, ever = chance.choice(ERRORS), chance.random() < 0.5
        last = 10**9 if ever else number
        faults = {"FAULT_CALLS": f"{number}:{last}", "FAULT_ERROR": str(error)}
        operation, path = command.calls[number]
        what = f"{os.strerror(error)}{' from then on' if ever else ''} at {operation} {Path(path).name} (call {number})"
        _trial(tally, command, whole, folder / f"trial{trial}", what, "install", faults)
    for trial in range(real):
        size = int(2 ** chance.uniform(14, 20))  # what the child prints must fit
        what = f"no file beyond {size} bytes"
        _trial(tally, commands[0], whole, folder / f"real{trial}", what, "limit_file_size", {"FAULT_BYTES": str(size)})
    _small_disks(tally, commands[0], whole, folder, chance, real)
    return tally


def _commands(folder: Path, *, whole: bool) -> list[Command]:
    """All commands, or the training alone."""
    data, sources = folder / "data", folder / "sources"
    tool = "unreid.engine.cli:run_main"
    train = Command("train", tool, lambda place: arguments(METHOD, data, place / "run", *FULL), ("RESUME", "auto"))
    if not whole:
        return [train]
    first = server().run(arguments(METHOD, data, sources, *FULL), folder / "sources.out")
    if first.wait() != 0:
        raise RuntimeError(first.words()[-2000:])
    checkpoint = str(sources / "checkpoint.pth")
    evaluation = ("TEST.EVAL_ONLY", "True", "RESUME", checkpoint)
    mined = ("PICKLE_PATH", "{}/relations")
    return [
        train,
        Command("evaluate", tool, lambda place: arguments(METHOD, data, place / "run", *FULL, *evaluation)),
        Command(
            "mine",
            "tools.mine_constraints:main",
            lambda place: [
                *("--sts-from", "identity", "--allow-labels", "--min-count", "1"),
                *arguments("AuxUSL_synthetic_video", data, place, *(word.format(place) for word in mined)),
            ],
        ),
        Command(
            "convert",
            "tools.convert_checkpoint:main",
            lambda place: ["--in", checkpoint, "--out", str(place / "converted.pth")],
        ),
        Command(
            "render",
            "tools.render_dataset:main",
            lambda place: [
                "--layout",
                "market1501",
                "--out",
                str(place),
                "--ids",
                "2",
                "--images",
                "2",
                "--size",
                "32x16",
            ],
        ),
    ]


def _chosen(commands: list[Command], count: int, chance: random.Random) -> list[tuple[Command, int]]:
    """First one call of every kind of every command, in random order, then any."""
    kinds: dict[Any, list[tuple[Command, int]]] = {}
    for command in commands:
        for number, (operation, path) in enumerate(command.calls):
            kind = re.sub(r"[0-9a-f]{6,}|\d+", "N", Path(path).name)
            kinds.setdefault((command.name, operation, kind), []).append((command, number))
    chosen = [chance.choice(found) for found in kinds.values()]
    chance.shuffle(chosen)
    everything = [one for found in kinds.values() for one in found]
    more = chance.choices(everything, k=max(0, count - len(chosen)))
    return (chosen + more)[:count]


def _trial(
    tally: Tally, command: Command, whole: Path, place: Path, what: str, setup: str, faults: dict[str, str]
) -> None:
    place.mkdir(exist_ok=True)
    output = place.parent / "trial.out"
    child = command.start(place, output, setup=f"tests.torture.faults:{setup}", **faults)
    status = child.wait()
    problem = _judge(command, child, status, place) or ""
    warned = "cannot be written" in child.words()
    if not problem:
        problem = "; ".join(_broken(place))
    if not problem:
        after = command.start(place, place.parent / "after.out", *command.again)
        status_after = after.wait()
        if status_after != 0:
            problem = f"afterwards {status_after}: {after.words()[-500:]}"
        elif command.name == "train":
            problem = "; ".join(differences(whole / command.name / "run", place / "run"))
        left = [path for path in place.rglob("*") if path.name.endswith((".tmp", ".part"))]
        problem = problem or (f"left behind: {left[0].name}" if left else "")
    if problem:
        tally.failed(f"{command.name}: {what}: {problem}")
    else:
        tally.passed("refused with a sentence" if status == 2 else "went on with a warning" if warned else "went on")
    shutil.rmtree(place, ignore_errors=True)


def _judge(command: Command, child: Child, status: int | None, place: Path) -> str:
    """What is wrong with how a disturbed command ended."""
    lines = [
        line for line in child.words().splitlines() if re.match(r"(unreid|convert_checkpoint|render_dataset): ", line)
    ]
    noise = [word for word in ("Traceback", "Logging error", "Exception ignored") if word in child.words()]
    if noise or status not in (0, 2):
        return f"status {status}, {noise}: {child.words()[-1500:]}"
    if status == 0:
        return f"a sentence, but status 0: {lines}" if lines else ""
    named = len(lines) == 1 and "cannot be written" in lines[0] and str(place) in lines[0]
    return "" if named else f"status 2 with {lines or child.words()[-500:]}"


def _broken(place: Path) -> list[str]:
    """Files that are there, but not whole."""
    broken = []
    for path in place.rglob("*"):
        read = _READERS.get(path.suffix)
        if read is None or not path.is_file() or ".part" in str(path) or path.name.startswith("."):
            continue
        try:
            read(path)
        except Exception as error:
            broken.append(f"{path.name} is not whole: {type(error).__name__} {error}")
    return broken


def _image(path: Path) -> None:
    with Image.open(path) as image:
        image.load()


_READERS: dict[str, Callable[[Path], Any]] = {
    ".pth": lambda path: torch.load(path, map_location="cpu", weights_only=True),
    ".json": lambda path: json.loads(path.read_text()),
    ".jsonl": lambda path: [json.loads(line) for line in path.read_text().splitlines()],
    ".csv": lambda path: list(csv.DictReader(path.read_text().splitlines(), strict=True)),
    ".npz": lambda path: dict(np.load(path, allow_pickle=False)),
    ".png": _image,
    ".jpg": _image,
}


def _small_disks(tally: Tally, command: Command, whole: Path, folder: Path, chance: random.Random, count: int) -> None:
    """The same on a real disk that is too small, where this process may mount one; counted only there."""
    for trial in range(count):
        place = folder / f"disk{trial}"
        place.mkdir()
        kilobytes = int(2 ** chance.uniform(4, 11))
        if subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", place], capture_output=True
        ).returncode:
            return
        try:
            output = Path(tempfile.mkdtemp(dir=folder)) / "trial.out"
            child = command.start(place, output)
            status = child.wait()
            problem = _judge(command, child, status, place) or "; ".join(_broken(place))
            if not problem:
                subprocess.run(["mount", "-o", "remount,size=64m", place], check=True)
                after = command.start(place, output, *command.again)
                problem = after.words()[-500:] if after.wait() else ""
                problem = problem or "; ".join(differences(whole / command.name / "run", place / "run"))
            if problem:
                tally.failed(f"{command.name} on a disk of {kilobytes} kB: {problem}")
            else:
                tally.passed("a real small disk")
        finally:
            with suppress(OSError):
                subprocess.run(["umount", place], check=False)
