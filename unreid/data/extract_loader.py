"""Streams the frames of a list of tracklets for feature extraction."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unreid.data.cache import ImageCache
from unreid.data.frame_table import FrameTable
from unreid.data.frames import frame_indices
from unreid.data.image_source import open_source
from unreid.data.prefetch import prefetch
from unreid.data.reading import CorruptImages
from unreid.data.streams import Stream, stream_generator
from unreid.data.transforms import TestTransform, upload
from unreid.structures import Tracklet


@dataclass(frozen=True)
class _Chunk:
    """Frames of one batch: rows of the frame table and, for each, the position of its tracklet."""

    rows: np.ndarray
    owners: np.ndarray
    crops: None = None


class ExtractLoader(AbstractContextManager):
    """Batches of frames in the order of the tracklets; long tracklets span several batches.

    Args:
        frame_mode: which frames of a tracklet are read, see :func:`unreid.data.frames.frame_indices`.
        length: frames wanted per tracklet; 0: all.
        last_window: see :func:`unreid.data.frames.frame_indices`.
        seed, round: random frames depend on these and the tracklet's position only.
        workers: decoding processes, unused when the images are cached.
        corrupt: what to do with unreadable images; skipped frames are simply not in the stream.
        indices: positions of the tracklets to read (a process's share); None: all.

    Raises:
        ValueError: ``batch_size`` < 1.
    """

    def __init__(
        self,
        tracklets: Sequence[Tracklet],
        transform: TestTransform,
        *,
        batch_size: int = 128,
        frame_mode: str = "all",
        length: int = 0,
        last_window: bool = True,
        seed: int = 0,
        round: int = 0,
        device: torch.device | str = "cpu",
        workers: int = 0,
        cache: ImageCache | None = None,
        corrupt: CorruptImages | None = None,
        indices: Sequence[int] | np.ndarray | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"a batch has at least one image, not {batch_size}")
        self.table = FrameTable(tracklets)
        self.transform = transform
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.corrupt = corrupt or CorruptImages()
        self.indices = np.arange(len(self.table)) if indices is None else np.asarray(indices, dtype=np.int64)
        self._rows, self._owners = self._choose(frame_mode, length, last_window, seed, round)
        self._paths = self.table.paths
        if frame_mode in ("all", "even"):
            # The same frames every time: a cache need not hold more than these (a process's share, a long
            # tracklet's selection). Random frames come out of the whole list, as in training.
            self._paths = tuple(self._paths[row] for row in self._rows.tolist())
            self._rows = np.arange(len(self._rows))
        self._read = np.zeros(len(self.table), dtype=bool)
        self._source = open_source(
            self._paths,
            transform.resize,
            native=False,
            cache=cache,
            workers=workers,
            device=self.device,
        )

    def __len__(self) -> int:
        """Batches at most; unreadable images may leave fewer."""
        return math.ceil(len(self._rows) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields images float32 (F, 3, H, W) and owners int64 (F,), positions in the list; both on the device.

        Raises:
            UserError: an image cannot be read and corrupt images are not skipped.
        """
        self._read[:] = False
        answers = self._source.stream(self._chunks())
        yield from prefetch(self._readable(answers), self._prepare, tuple, self.device)

    @property
    def frames(self) -> int:
        """Images that an iteration gives, the unreadable ones included."""
        return len(self._rows)

    @property
    def unreadable(self) -> np.ndarray:
        """int64, tracklets without a readable frame: after an iteration, those whose features are missing."""
        return self.indices[~self._read[self.indices]]

    def close(self) -> None:
        """Ends the worker processes; the loader cannot be used afterwards."""
        self._source.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _choose(
        self, mode: str, length: int, last_window: bool, seed: int, round: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows and owners of all frames, in order."""
        lengths, starts = self.table.lengths, self.table.starts
        if lengths.max(initial=1) == 1 or not len(self.indices):
            return starts[self.indices], self.indices
        frames = []
        for index in self.indices.tolist():
            generator = stream_generator(Stream.EXTRACT_FRAMES, seed, round, index)
            chosen = frame_indices(int(lengths[index]), mode, length, generator, last_window=last_window)
            frames.append(starts[index] + chosen)
        counts = [len(chosen) for chosen in frames]
        return np.concatenate(frames), np.repeat(self.indices, counts)

    def _chunks(self) -> Iterator[_Chunk]:
        for begin in range(0, len(self._rows), self.batch_size):
            part = slice(begin, begin + self.batch_size)
            yield _Chunk(self._rows[part], self._owners[part])

    def _readable(self, answers: Iterator[tuple[_Chunk, Tensor, np.ndarray]]) -> Iterator[tuple[Tensor, np.ndarray]]:
        for chunk, pixels, readable in answers:
            images, owners = pixels[0], chunk.owners
            if not readable.all():
                self.corrupt.report(self._paths[row] for row in chunk.rows[~readable])
                images = images[torch.from_numpy(np.flatnonzero(readable)).to(images.device)]
                owners = owners[readable]
            self._read[owners] = True
            if len(owners):
                yield images, owners

    def _prepare(self, frames: tuple[Tensor, np.ndarray]) -> tuple[Tensor, Tensor]:
        pixels, owners = frames
        images = self.transform.apply_batch(pixels.to(self.device, non_blocking=True))
        return images, upload(torch.from_numpy(owners), self.device)
