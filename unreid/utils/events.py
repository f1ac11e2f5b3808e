"""The event storage: the run puts numbers and pictures in, writers take them out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

import unreid.utils.trackers  # noqa: F401  # registers its writers
from unreid.utils.phases import PhaseStats, PhaseTimer
from unreid.utils.progress import task
from unreid.utils.writers import WRITERS, ConsoleWriter, Events, JsonWriter, TensorBoardWriter, Writer

__all__ = ["WRITERS", "ConsoleWriter", "EventStorage", "Events", "JsonWriter", "TensorBoardWriter", "Writer"]

REDUCTIONS = ("mean", "last", "sum", "max")


class EventStorage:
    """Collects what happens between two writes.

    A scalar put several times is reduced to one number. Tensors stay on their device until :meth:`write`, which
    reads all of them at once, so putting a loss every step costs no synchronisation.

    Attributes:
        step: optimiser steps done; the trainer sets it, writers note it.
        phases: the :class:`PhaseTimer` behind :meth:`phase`; its ``totals`` cover the whole run.
        latest: name -> value as of the last write that contained it.

    Example:
        >>> storage = EventStorage()
        >>> storage.put_scalar("loss", torch.tensor(1.0))
        >>> storage.put_scalar("loss", torch.tensor(3.0))
        >>> storage.write().scalars
        {'loss': 2.0}
    """

    def __init__(self, writers: Sequence[Writer] = (), step: int = 0) -> None:
        self.writers = list(writers)
        self.step = step
        self.phases = PhaseTimer()
        self.latest: dict[str, float] = {}
        self._scalars: dict[str, _Scalar] = {}
        self._images: dict[str, Any] = {}
        self._lasted: dict[str, float] = {}  # phase -> seconds of its last entry

    def put_scalar(self, name: str, value: float | Tensor, reduce: str = "mean") -> None:
        """Note a number.

        Args:
            name: ``group/name``, e.g. "loss/memory".
            value: a number or a tensor with one element.
            reduce: "mean", "last", "sum" or "max" of the values put under this name until the next write.
        """
        if reduce not in REDUCTIONS:
            raise ValueError(f"reduce must be one of {', '.join(REDUCTIONS)}, got {reduce!r}")
        if isinstance(value, Tensor):
            value = value.detach().float().reshape(())
        entry = self._scalars.get(name)
        if entry is None:
            self._scalars[name] = _Scalar(value, reduce)
        else:
            entry.add(value)

    def put_scalars(self, values: Mapping[str, float | Tensor], prefix: str = "", reduce: str = "mean") -> None:
        """:meth:`put_scalar` for every item, with ``prefix`` before the names."""
        for name, value in values.items():
            self.put_scalar(prefix + name, value, reduce)

    def put_image(self, name: str, image: Any) -> None:
        """Note a picture: uint8 (H, W, 3), RGB, array or tensor. TensorBoard only; the last one of a name counts."""
        if len(image.shape) != 3 or image.shape[2] != 3:
            raise ValueError(f"an image is (H, W, 3), got {tuple(image.shape)}")
        self._images[name] = image

    def noted(self, name: str) -> float | None:
        """The number noted under a name since the last write, reduced so far, or None; waits for a tensor's device."""
        entry = self._scalars.get(name)
        return None if entry is None else float(entry.result())

    @contextmanager
    def phase(self, name: str) -> Iterator[PhaseStats]:
        """Measure a block and note ``phase/<name>/{seconds, peak_rss_mib, peak_cuda_mib}``.

        A long one is heard of while it lasts; how long it took the last time says what is left of it.
        """
        stats = PhaseStats()
        try:
            with task(name, expected=self._lasted.get(name)), self.phases.phase(name) as stats:
                yield stats
        finally:
            self._lasted[name] = stats.seconds
            self.put_scalar(f"phase/{name}/seconds", stats.seconds, "sum")
            self.put_scalar(f"phase/{name}/peak_rss_mib", stats.peak_rss, "max")
            if stats.peak_cuda is not None:
                self.put_scalar(f"phase/{name}/peak_cuda_mib", stats.peak_cuda, "max")

    def write(self) -> Events:
        """Give everything put since the last write to all writers, and forget it."""
        names, numbers = list(self._scalars), read_numbers([entry.result() for entry in self._scalars.values()])
        events = Events(self.step, dict(zip(names, numbers)), self._images)
        self.latest.update(events.scalars)
        self._scalars, self._images = {}, {}
        for writer in self.writers:
            writer.write(events)
        return events

    @property
    def rows(self) -> int:
        """Rows that the metrics file holds now, 0 without one."""
        return sum(writer.rows for writer in self.writers if isinstance(writer, JsonWriter))

    def close(self) -> None:
        """Write what is left and close the writers."""
        try:
            self.write()
        finally:
            for writer in self.writers:
                writer.close()


class _Scalar:
    """Running reduction of one name."""

    def __init__(self, value: float | Tensor, reduce: str) -> None:
        self.reduce = reduce
        self.value = value
        self.count = 1

    def add(self, value: float | Tensor) -> None:
        self.count += 1
        if self.reduce == "last":
            self.value = value
        elif self.reduce == "max":
            pair = torch.as_tensor(self.value), torch.as_tensor(value)
            self.value = torch.maximum(*pair) if isinstance(value, Tensor) else max(self.value, value)
        else:
            self.value = self.value + value

    def result(self) -> float | Tensor:
        return self.value / self.count if self.reduce == "mean" else self.value


def read_numbers(values: Sequence[float | Tensor]) -> list[float]:
    """Numbers of mixed floats and one-element tensors, with one transfer a device."""
    numbers = [0.0 if isinstance(value, Tensor) else float(value) for value in values]
    by_device: dict[torch.device, list[int]] = {}
    for position, value in enumerate(values):
        if isinstance(value, Tensor):
            by_device.setdefault(value.device, []).append(position)
    for positions in by_device.values():
        read = torch.stack([torch.as_tensor(values[position]) for position in positions]).tolist()
        for position, number in zip(positions, read):
            numbers[position] = number
    return numbers
