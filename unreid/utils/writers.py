"""Where events go: JSON lines, TensorBoard, the log. All writers read the same :class:`Events`."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from unreid.utils.errors import UserError
from unreid.utils.event_file import EventFile, summary_writer
from unreid.utils.registry import Registry
from unreid.utils.writing import AppendFile, atomic_write_text, refusal, writing

logger = logging.getLogger(__name__)

METRICS_FILE = "metrics.jsonl"

MakeWriter = Callable[[str | os.PathLike[str], Mapping[str, Any], int | None], "Writer"]
"""(folder of the run, config key -> value, steps already done or None) -> writer."""

WRITERS: Registry[MakeWriter] = Registry("writer")
"""Further places where the events of a run go, by the names that ``LOG.WRITERS`` takes."""


@dataclass(frozen=True)
class Events:
    """What was put since the last write.

    Attributes:
        scalars: name -> value, in the order they were first put.
        images: name -> uint8 (H, W, 3), RGB.
    """

    step: int
    scalars: dict[str, float]
    images: dict[str, Any] = field(default_factory=dict)


class Writer(Protocol):
    """A sink for events."""

    def write(self, events: Events) -> None:
        """Take over one batch of events."""

    def close(self) -> None:
        """Flush and let go of files."""


class JsonWriter:
    """``metrics.jsonl``: one JSON object a line with ``step``, ``time`` (seconds since 1970) and the scalars.

    Values that are not finite become null, so that every line is valid JSON.

    Args:
        output_dir: folder of the file, created if missing.
        resume_step: steps already done; their rows stay and rows of later steps (and a half-written last line) go,
            because the resumed run writes them again. None starts an empty file.
        resume_rows: rows that stay at most: those of the last step may have been written after the checkpoint.
    """

    def __init__(
        self, output_dir: str | os.PathLike[str], resume_step: int | None = None, resume_rows: int | None = None
    ) -> None:
        self.path = Path(output_dir) / METRICS_FILE
        kept = _rows_up_to(self.path, resume_step) if resume_step is not None and self.path.exists() else []
        kept = kept[:resume_rows]
        self.rows = len(kept)
        atomic_write_text(self.path, "".join(line + "\n" for line in kept))
        self._file = AppendFile(self.path)

    def write(self, events: Events) -> None:
        """Append a line; nothing is written without scalars.

        Raises:
            UnwritableError: the system refuses. The run must end: its next checkpoint would be past a missing row.
        """
        if not events.scalars:
            return
        scalars = {name: value if math.isfinite(value) else None for name, value in events.scalars.items()}
        row = {"step": events.step, "time": round(time.time(), 3), **scalars}
        with writing(self.path):
            self._file.write(f"{json.dumps(row, allow_nan=False)}\n".encode())
        self.rows += 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoardWriter:
    """TensorBoard event files with scalars and images.

    Args:
        resume_step: steps already done; TensorBoard hides what an earlier run wrote after them.

    Raises:
        UserError: TensorBoard is not installed, or its file cannot be opened.
    """

    def __init__(self, log_dir: str | os.PathLike[str], resume_step: int | None = None) -> None:
        purge = None if resume_step is None else resume_step + 1
        self._refused = False
        try:
            import torch.utils.tensorboard  # noqa: F401

            with writing(log_dir):
                self._file = EventFile(Path(log_dir), purge)
        except ModuleNotFoundError as error:
            raise UserError(
                f"LOG.TENSORBOARD needs the package {error.name}: install tensorboard, or set LOG.TENSORBOARD False."
            ) from error
        self._writer = summary_writer(self._file)

    def write(self, events: Events) -> None:
        """Write everything; what the disk does not take is left out, which is said once."""
        try:
            for name, value in events.scalars.items():
                self._writer.add_scalar(name, value, events.step)
            for name, image in events.images.items():
                self._writer.add_image(name, image, events.step, dataformats="HWC")
        except OSError as error:
            if not self._refused:
                sentence = refusal(self._file.file.path, error)
                logger.warning("%s The run goes on, and TensorBoard will show gaps.", sentence)
            self._refused = True

    def close(self) -> None:
        """Close the event file."""
        self._file.file.close()


class ConsoleWriter:
    """One line of the log per write."""

    def write(self, events: Events) -> None:
        """Log ``step N  name value  ...`` with four significant digits, phases left out; nothing if no name is left."""
        shown = [f"{name} {value:.4g}" for name, value in events.scalars.items() if not name.startswith("phase/")]
        if shown:
            logger.info("step %d  %s", events.step, "  ".join(shown))

    def close(self) -> None:
        """Nothing to close."""


def _rows_up_to(path: Path, step: int) -> list[str]:
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue  # cut off when the run was killed
        if isinstance(row, dict) and row.get("step", 0) <= step:
            kept.append(line)
    return kept
