"""Where the pixels of a stream of requests come from: the cache, or files decoded by worker processes."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from unreid.data.cache import CachedImages, ImageCache
from unreid.data.reading import Resize, read_pixels
from unreid.utils.signals import SIGNALS


class PixelRequest(Protocol):
    """What a source reads of a request."""

    @property
    def rows(self) -> np.ndarray:
        """int64 (n,), rows of the frame table."""

    @property
    def crops(self) -> Sequence[np.ndarray] | None:
        """One array (n, tries, 4) per set of pixels wanted (random rectangles), or None for one set of whole images."""


Request = TypeVar("Request", bound=PixelRequest)


class ImageSource(Protocol):
    """Answers requests in their order."""

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Tensor, np.ndarray]]:
        """(request, pixels uint8 (sets, n, 3, H, W), readable bool (n,)) for every request."""

    def close(self) -> None:
        """Ends worker processes, if there are any."""


class CachedSource:
    """Slices a cached list; whole images only."""

    def __init__(self, cached: CachedImages, pin_memory: bool = False) -> None:
        self._cached = cached
        self._pin = pin_memory and cached.pixels.device.type == "cpu"

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Tensor, np.ndarray]]:
        for request in requests:
            yield request, self._take(request.rows).unsqueeze(0), self._cached.readable[request.rows]

    def _take(self, rows: np.ndarray) -> Tensor:
        pixels = self._cached.pixels
        index = torch.from_numpy(rows)
        if pixels.device.type == "cuda":
            return pixels.index_select(0, index.pin_memory().to(pixels.device, non_blocking=True))
        if not self._pin:
            return pixels.index_select(0, index)
        out = torch.empty((len(rows), *pixels.shape[1:]), dtype=torch.uint8, pin_memory=True)
        return torch.index_select(pixels, 0, index, out=out)

    def close(self) -> None:
        """Nothing to end: the cache belongs to the run."""


class FileSource:
    """Decodes files, in worker processes that live as long as the source and hold no random state.

    A worker gets the rows (and rectangles) of a whole batch and returns its pixels; everything random was decided
    before, so the number of workers changes nothing but the speed.

    Args:
        workers: processes; 0 decodes in this one.
    """

    def __init__(self, paths: Sequence[str], resize: Resize, workers: int = 0, pin_memory: bool = False) -> None:
        self._tasks = _Tasks()
        self._loader: DataLoader | None = DataLoader(
            _Decoder(paths, resize),
            batch_size=None,
            sampler=self._tasks,
            num_workers=workers,
            pin_memory=pin_memory,
            persistent_workers=workers > 0,
            worker_init_fn=_leave_signals_to_the_parent,
            generator=torch.Generator(),  # every pass draws a seed for its workers: not from the run's generator
        )

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Tensor, np.ndarray]]:
        if self._loader is None:
            raise ValueError("this source was closed")
        waiting: deque[Request] = deque()
        self._tasks.feed(requests, waiting)
        for pixels, readable in self._loader:
            yield waiting.popleft(), pixels, readable.numpy()

    def close(self) -> None:
        loader, self._loader = self._loader, None
        # Workers end when the loader's iterator is collected; an error on its way up holds it for too long.
        end_workers = getattr(getattr(loader, "_iterator", None), "_shutdown_workers", None)
        if end_workers is not None:
            end_workers()


def open_source(
    paths: Sequence[str],
    resize: Resize,
    *,
    native: bool,
    cache: ImageCache | None,
    workers: int,
    device: torch.device,
) -> ImageSource:
    """The cached list if there is a cache and it fits; files otherwise, and where native images are needed."""
    pin_memory = device.type == "cuda"
    if cache is not None and not native:
        cached = cache.get(paths, resize)
        if cached is not None:
            return CachedSource(cached, pin_memory)
    return FileSource(paths, resize, workers, pin_memory)


class _Tasks:
    """The loader's sampler: hands out what workers need of each request and remembers the request itself."""

    def __init__(self) -> None:
        self._requests: Iterable[PixelRequest] = ()
        self._waiting: deque = deque()

    def feed(self, requests: Iterable[PixelRequest], waiting: deque) -> None:
        self._requests, self._waiting = requests, waiting

    def __iter__(self) -> Iterator[tuple[np.ndarray, Sequence[np.ndarray] | None]]:
        for request in self._requests:
            self._waiting.append(request)
            yield request.rows, request.crops


class _Decoder(Dataset):
    def __init__(self, paths: Sequence[str], resize: Resize) -> None:
        self._paths = paths
        self._resize = resize

    def __getitem__(self, task: tuple[np.ndarray, Sequence[np.ndarray] | None]) -> tuple[Tensor, Tensor]:
        rows, crops = task
        paths = [self._paths[row] for row in rows]
        sets: Sequence[np.ndarray | None] = [None] if crops is None else crops
        pixels = torch.empty((len(sets), len(paths), 3, *self._resize.size), dtype=torch.uint8)
        readable = np.ones(len(paths), dtype=bool)
        for out, crop in zip(pixels, sets):
            readable &= read_pixels(paths, self._resize, out, crop)
        return pixels, torch.from_numpy(readable)


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ctrl-C, a closed terminal or a scheduler's SIGTERM reach the whole process group: the run must be able to finish
    its step with living workers. They end when it closes its loader, or within seconds when it is gone.
    """
    for number in SIGNALS:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_when_the_parent_says, daemon=True).start()
    else:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end_when_the_parent_says() -> None:
    while True:
        if signal.sigwaitinfo({signal.SIGTERM}).si_pid == os.getppid():
            os._exit(0)
