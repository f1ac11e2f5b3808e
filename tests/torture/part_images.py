"""Damaged image files: read, or refused with one sentence; never anything else, never slowly, never noisily."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tests.torture.image_files import DAMAGES, SIZE, ImageFile, cut, image_files
from tests.torture.tally import Tally
from unreid.data.extract_loader import ExtractLoader
from unreid.data.reading import CorruptImages, Resize, read_image
from unreid.data.transforms import TestTransform
from unreid.structures import Tracklet
from unreid.utils.errors import UserError

TITLE = "image files of every format and mode, cut, with flipped bits, edited headers, wrong suffixes"
EXPECTED = "read, or refused by name (left out under SKIP_CORRUPT), within 2 s, without warnings of decoders"
COUNT, SLICE = 2000, 150

LIMIT, HANG = 2.0, 10.0  # seconds of CPU time a file, and of wall time, as the machine may be busy
_LINES = SIZE[1]  # libtiff, in C, writes lines of its own about a damaged file: one a row at most
_LOADED = 50  # trials that go through the loader together
_SWAPPED = 0.1  # share of the trials with the suffix of another format
# A file of it keeps its colours at the end: cut there, it is one with grey levels in their place.
_LATE_PALETTE = ("PCX P",)


class _Hang(BaseException):
    """Beyond :data:`HANG`; no ordinary exception, which the reader would take for the decoder's."""


def run(count: int, seed: int, folder: Path) -> Tally:
    """See :mod:`tests.torture.parts`."""
    tally, files = Tally(), image_files()
    whole = {file.name: _pixels(_write(folder / f"whole{file.suffix}", file.data)) for file in files}
    seen: dict[str, bool] = {}
    with _listening() as noise:
        for number in range(count):
            path, outcome = _trial(number, seed, folder, files, whole)
            said = noise.take()
            if said is not None:
                outcome = f"noise of decoders: {said}"
            if isinstance(outcome, str):
                tally.failed(f"trial {number} of seed {seed}, {path.name}: {outcome}")
                continue
            tally.passed("read" if outcome else "refused")
            seen[str(path)] = outcome
            if len(seen) == _LOADED:
                _compare_with_loader(seen, tally)
                noise.take()  # the same files once more
                seen.clear()
        _compare_with_loader(seen, tally)
    return tally


def _trial(
    number: int, seed: int, folder: Path, files: list[ImageFile], whole: dict[str, np.ndarray]
) -> tuple[Path, bool | str]:
    """The damaged file, and whether it was read; a text says what is wrong with the outcome."""
    rng = np.random.default_rng([seed, number])
    file, damage = files[int(rng.integers(len(files)))], DAMAGES[int(rng.integers(len(DAMAGES)))]
    suffix = files[int(rng.integers(len(files)))].suffix if rng.random() < _SWAPPED else file.suffix
    kind = f"{file.name}_{damage.__name__}".replace(" ", "_").replace("/", "_")
    path = folder / f"{number}_{kind}{suffix}"
    _write(path, damage(file.data, rng))
    started = time.process_time()
    try:
        with _limit(HANG):
            pixels = _pixels(path)
    except UserError as error:
        clear = str(path) in str(error) and "\n" not in str(error)
        return path, False if clear else f"no clear sentence: {error}"
    except _Hang:
        return path, f"took longer than {HANG} s"
    except Exception as error:
        return path, f"{type(error).__name__}: {error}"
    if time.process_time() - started > LIMIT:
        return path, f"took longer than {LIMIT} s"
    if damage is cut and file.name not in _LATE_PALETTE and not np.array_equal(pixels, whole[file.name]):
        return path, "was cut off, and what was read is not the whole image"
    return path, True


def _compare_with_loader(seen: dict[str, bool], tally: Tally) -> None:
    """One trial: the loader leaves out exactly the files that were refused. Removes them."""
    if not seen:
        return
    records = [Tracklet((path,), camid=0, trackid=i) for i, path in enumerate(seen)]
    policy = CorruptImages(skip=True)
    with ExtractLoader(records, TestTransform(Resize((16, 8))), batch_size=16, corrupt=policy) as loader:
        owners = [int(owner) for _, batch in loader for owner in batch]
    read = [i for i, good in enumerate(seen.values()) if good]
    if owners == read and len(policy.paths) == len(seen) - len(read):
        tally.passed("batches of the loader")
    else:
        tally.failed(f"the loader read {len(owners)} files and reported {len(policy.paths)}, not {len(read)}: {seen}")
    for path in seen:
        os.unlink(path)


def _pixels(path: Path) -> np.ndarray:
    image = read_image(str(path))
    if image.mode != "RGB" or 0 in image.size:
        raise AssertionError(f"read as {image.mode} {image.size}")
    return np.asarray(image)


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise _Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)  # what decodes in C is timed by the caller
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _Noise:
    """Counts what libraries warn about, and lines they write to standard error by themselves, since the last look."""

    def __init__(self, file: BinaryIO, caught: list[warnings.WarningMessage]) -> None:
        self._file, self._caught = file, caught
        self._seen = 0

    def take(self) -> str | None:
        """What is too much since the last call: any warning, or more than :data:`_LINES` lines."""
        size = os.fstat(self._file.fileno()).st_size
        text = os.pread(self._file.fileno(), size - self._seen, self._seen).decode(errors="replace")
        messages = [str(item.message) for item in self._caught]
        self._seen = size
        self._caught.clear()
        return "; ".join([text, *messages])[:300] if messages or text.count("\n") > _LINES else None


@contextmanager
def _listening() -> Iterator[_Noise]:
    package = logging.getLogger("unreid")
    level, saved = package.level, os.dup(2)
    package.setLevel(logging.ERROR)  # our own sentences about skipped files are meant to be there
    with tempfile.TemporaryFile() as file, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", DeprecationWarning)  # as Python does; they are about Pillow, not about a file
        os.dup2(file.fileno(), 2)
        try:
            yield _Noise(file, caught)
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            package.setLevel(level)
