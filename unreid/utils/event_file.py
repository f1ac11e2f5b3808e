"""TensorBoard's event files, written record by record.

TensorBoard's own writer does it in a thread: on a full disk the thread dies with a traceback, and half a record at the
end of a file hides all that follow.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

from unreid.utils.writing import AppendFile


class EventFile:
    """Takes the place of the file writer in a ``SummaryWriter``.

    Args:
        folder: where the event file goes, made if missing.
        purge_step: TensorBoard hides what earlier files of the folder hold from this step on; None: nothing.

    Raises:
        UnwritableError: the file cannot be opened.
        OSError: (of ``add_summary``) a record cannot be written; no part of it is in the file.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event = Event
        self.file = AppendFile(folder / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}")
        self._records = RecordWriter(self.file)
        self._add(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._add(Event(wall_time=time.time(), step=purge_step, session_log=start))

    def add_summary(self, summary: Any, step: int | None = None, walltime: float | None = None) -> None:
        """Writes one summary."""
        self._add(self._event(wall_time=walltime or time.time(), step=step or 0, summary=summary))

    def _add(self, event: Any) -> None:
        self._records.write(event.SerializeToString())


def summary_writer(file: EventFile) -> Any:
    """A ``SummaryWriter`` that writes into ``file``."""
    from torch.utils.tensorboard import SummaryWriter

    class Writer(SummaryWriter):
        def _get_file_writer(self) -> EventFile:
            return file

    return Writer(str(file.file.path.parent))
