"""Extraction of large sets: shard by shard, by any number of processes, going on where it was ended."""

from __future__ import annotations

import json
import logging
import shutil
from collections import deque
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from unreid.utils.distributed import barrier, from_main, get_rank, get_world_size, is_main
from unreid.utils.errors import UserError
from unreid.utils.lockfile import LockFile
from unreid.utils.npz import ArraysError, read_arrays, write_arrays
from unreid.utils.progress import task
from unreid.utils.signals import stopping_later
from unreid.utils.writing import atomic_write_text, sweep, writing
from unreid.workbench.crops import Crops
from unreid.workbench.encoder import Encoder
from unreid.workbench.feature_table import FeatureTable, write_rows

logger = logging.getLogger(__name__)

SHARD = 4096
"""Images of a shard, about: whole batches, so that a batch holds the same images however often one begins."""
_PLAN = "plan.json"


def extract_to_file(
    encoder: Encoder,
    crops: Crops,
    output: str | Path,
    *,
    batch_size: int = 64,
    workers: int = 0,
    shard: int = SHARD,
) -> int:
    """Writes the feature table of the images; returns its rows.

    Finished shards lie in ``<output>.parts`` until the table is complete, and a second call goes on with them. All
    processes of a torchrun job call it; each takes its share of the shards, and the folder must be one that all of
    them see. The table is the same however many there were, up to rounding where their devices differ.

    Raises:
        UserError: no image can be read, the folder belongs to another extraction or is not shared, or the system
            refuses a file.
    """
    output = Path(output)
    parts = _Parts(output, len(crops), max(1, shard // batch_size) * batch_size)
    plan = {"model": encoder.fingerprint, "images": crops.fingerprint, "size": parts.size, "batch": batch_size}
    with parts.lock() if is_main() else nullcontext():
        from_main(lambda: parts.begin(plan))
        pending = from_main(parts.pending)
        mine = pending[get_rank() :: get_world_size()]
        done = len(crops) - parts.images(pending)
        if done:
            from_main(lambda: logger.info("%d of %d images were done before: going on", done, len(crops)))
        with stopping_later(parts.when_stopped):
            _extract(encoder, crops, parts, mine, batch_size, workers)
        barrier()
        rows = from_main(lambda: _collect(encoder, crops, parts, output))
    return rows


class _Parts:
    """The folder of finished shards."""

    def __init__(self, output: Path, images: int, size: int) -> None:
        self.folder = output.with_name(f"{output.name}.parts")
        self.count = -(-images // size)
        self.size, self.total = size, images

    def lock(self) -> LockFile:
        """Held by the main process while all of them work."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        return LockFile(self.folder / ".lock", f"The extraction in {self.folder}")

    def begin(self, plan: dict[str, object]) -> None:
        path = self.folder / _PLAN
        sweep(self.folder)
        if not path.exists():
            atomic_write_text(path, json.dumps(plan))
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError):
            found = None
        if found != plan:
            raise UserError(
                f"{self.folder} holds an unfinished extraction with another model, other images or another batch size: "
                "remove that folder, or choose another output."
            )

    def path(self, number: int) -> Path:
        return self.folder / f"{number:07}.npz"

    def pending(self) -> list[int]:
        return [number for number in range(self.count) if not self.path(number).exists()]

    def rows(self, number: int) -> range:
        return range(number * self.size, min((number + 1) * self.size, self.total))

    def images(self, numbers: list[int]) -> int:
        return sum(len(self.rows(number)) for number in numbers)

    def write(self, number: int, found: list[tuple[np.ndarray, np.ndarray]]) -> None:
        """Vectors and rows of the batches of a shard; none where no image of it can be read."""
        vectors = np.concatenate([values for values, _ in found]) if found else np.zeros((0, 0), np.float32)
        rows = np.concatenate([owners for _, owners in found]) if found else np.zeros(0, np.int64)
        write_arrays(self.path(number), vector=vectors, row=rows)

    def read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        path = self.path(number)
        if not path.exists():
            raise UserError(
                f"{path} is missing, so the processes do not share {self.folder}: choose an output all machines see."
            )
        try:
            arrays = read_arrays(path)
            return arrays["vector"], arrays["row"]
        except (ArraysError, KeyError) as error:
            raise UserError(f"{path} is damaged ({error}): remove it and start again.") from None

    def when_stopped(self, signal: str) -> str:
        saved = self.count - len(self.pending())
        return f"stopped by {signal}; {saved} of {self.count} parts are saved, the same command goes on there"


def _extract(encoder: Encoder, crops: Crops, parts: _Parts, shards: list[int], batch_size: int, workers: int) -> None:
    """Extracts some shards and writes each as soon as a batch of another one comes: batches never span two."""
    if not shards:
        return
    rows = np.concatenate([np.array(parts.rows(number)) for number in shards])
    waiting = deque(shards)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    with task("features", len(rows), "images") as work:
        for vectors, owners in encoder.stream(crops.files, rows, batch_size=batch_size, workers=workers):
            while waiting[0] != owners[0] // parts.size:
                parts.write(waiting.popleft(), found)
                found = []
            found.append((vectors, owners))
            work.advance(len(owners))
        while waiting:
            parts.write(waiting.popleft(), found)
            found = []


def _collect(encoder: Encoder, crops: Crops, parts: _Parts, output: Path) -> int:
    """Puts the shards together, and removes them."""
    read: list[int] = []
    for number in range(parts.count):
        read += parts.read(number)[1].tolist()
    if not read:
        shutil.rmtree(parts.folder, ignore_errors=True)
        raise UserError(f"None of the {len(crops)} images below {crops.root} can be read.")
    paths, cameras, unreadable = crops.told_apart(read)
    blocks = (vectors for number in range(parts.count) if len(vectors := parts.read(number)[0]))
    with task(f"writing {output}"):
        write_rows(output, paths, cameras, blocks, encoder.meta(crops.root, unreadable))
    shutil.rmtree(parts.folder, ignore_errors=True)
    if unreadable:
        logger.warning("%d images cannot be read and are left out (first: %s)", len(unreadable), unreadable[0])
    return len(read)


def extract_table(encoder: Encoder, crops: Crops, *, batch_size: int = 64, workers: int = 0) -> FeatureTable:
    """The same in memory, for a few thousand images; nothing is kept when it is ended.

    Raises:
        UserError: no image can be read.
    """
    found: list[tuple[np.ndarray, np.ndarray]] = []
    with task("features", len(crops), "images") as work:
        for vectors, owners in encoder.stream(
            crops.files, np.arange(len(crops)), batch_size=batch_size, workers=workers
        ):
            found.append((vectors, owners))
            work.advance(len(owners))
    if not found:
        raise UserError(f"None of the {len(crops)} images below {crops.root} can be read.")
    paths, cameras, unreadable = crops.told_apart(np.concatenate([owners for _, owners in found]).tolist())
    vectors = np.concatenate([values for values, _ in found])
    return FeatureTable(paths, cameras, vectors, encoder.meta(crops.root, unreadable))
