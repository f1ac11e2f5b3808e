"""Training batches: which images a step sees, how they are augmented, on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unreid.data.augment_params import AugmentParams
from unreid.data.batches import EpochBatches
from unreid.data.cache import ImageCache
from unreid.data.frame_table import FrameTable
from unreid.data.frames import frame_indices
from unreid.data.image_source import open_source
from unreid.data.prefetch import prefetch
from unreid.data.reading import CorruptImages
from unreid.data.streams import Stream, stream_generator
from unreid.data.transforms import TrainTransform, upload
from unreid.structures import Batch, Tracklet
from unreid.utils.errors import UserError


@dataclass(frozen=True)
class _Step:
    """One step of one process: b samples of T frames.

    Attributes:
        indices: int64 (b,), positions in the full training list.
        rows: int64 (b * T,), frames, those of a clip adjacent.
        params: b * T rows per view.
        crops: the views' random rectangles, or None.
    """

    indices: np.ndarray
    rows: np.ndarray
    params: list[AugmentParams]
    crops: list[np.ndarray] | None


class TrainLoader(AbstractContextManager):
    """Batches of a round of training.

    What a step sees is a pure function of (seed, epoch, step): neither the number of workers, nor the cache, nor the
    steps before it change it. With several processes each takes its consecutive slice of the global batch, drawn
    alike by all of them.

    Args:
        tracklets: the full training list, N records.
        targets: int64 (N,), pseudo labels; -1 is never sampled.
        views: one transform per view; two views of a batch show the same frames.
        clip_len: T, frames per tracklet; lists of images always use 1.
        frame_mode: "window" or "subset", see :func:`unreid.data.frames.frame_indices`.
        last_window: see there.
        workers: decoding processes, unused when the images are cached.
        corrupt: what to do with unreadable images. A sample with an unreadable frame is replaced by another of its
            cluster from the same batch, or else by the first readable one (with that one's target).
        rank, world_size: this process and all of them.

    Raises:
        ValueError: no view, targets of the wrong length, or views that disagree about size or rectangles.
        UserError: the batch cannot be shared evenly by the processes.

    Example:
        >>> with TrainLoader(tracklets, targets, batches, [transform], seed=1) as loader:  # doctest: +SKIP
        ...     for batch in loader.epoch(0):
        ...         step(batch)
    """

    def __init__(
        self,
        tracklets: Sequence[Tracklet],
        targets: np.ndarray | Tensor,
        batches: EpochBatches,
        views: Sequence[TrainTransform],
        *,
        seed: int = 0,
        clip_len: int = 1,
        frame_mode: str = "window",
        last_window: bool = True,
        device: torch.device | str = "cpu",
        workers: int = 0,
        cache: ImageCache | None = None,
        corrupt: CorruptImages | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batches.batch_size % world_size:
            raise UserError(
                f"DATALOADER.TRAIN_BATCH_SIZE {batches.batch_size} is not a multiple of the {world_size} processes."
            )
        self.table = FrameTable(tracklets)
        self.targets = np.asarray(targets, dtype=np.int64)
        if len(self.targets) != len(self.table):
            raise ValueError(f"{len(self.targets)} targets for {len(self.table)} tracklets")
        if not views or len({(view.resize, view.recipe.sized_crop) for view in views}) > 1:
            raise ValueError("a batch needs one view or several that resize and crop alike")
        self.batches = batches
        self.views = list(views)
        self.seed = seed
        self.clip_len = clip_len if self.table.lengths.max(initial=1) > 1 else 1
        self.frame_mode, self.last_window = frame_mode, last_window
        self.device = torch.device(device)
        self.corrupt = corrupt or CorruptImages()
        share = batches.batch_size // world_size
        self._slots = slice(rank * share, (rank + 1) * share)
        self._source = open_source(
            self.table.paths,
            views[0].resize,
            native=views[0].recipe.sized_crop,
            cache=cache,
            workers=workers,
            device=self.device,
        )

    def __len__(self) -> int:
        """Steps of an epoch."""
        return len(self.batches)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from ``start_step`` on.

        Raises:
            UserError: an image cannot be read and corrupt images are not skipped.
        """
        steps = (self._plan(epoch, step, indices) for step, indices in self.batches.epoch(epoch, start_step))
        yield from prefetch(self._source.stream(steps), self._prepare, _tensors, self.device)

    def close(self) -> None:
        """Ends the worker processes; the loader cannot be used afterwards."""
        self._source.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _plan(self, epoch: int, step: int, indices: np.ndarray) -> _Step:
        """Draws for the global batch, then keeps this process's slice."""
        frames = self._frames(epoch, step, indices)[self._slots]
        rows = (self.table.starts[indices[self._slots], None] + frames).ravel()
        images = slice(self._slots.start * self.clip_len, self._slots.stop * self.clip_len)
        params = [
            view.recipe.draw(len(indices) * self.clip_len, self.seed, epoch, step, number).rows(images)
            for number, view in enumerate(self.views)
        ]
        crops = [p.sized_crop for p in params if p.sized_crop is not None] or None
        return _Step(indices[self._slots], rows, params, crops)

    def _frames(self, epoch: int, step: int, indices: np.ndarray) -> np.ndarray:
        """int64 (B, T): frame numbers within each tracklet."""
        if self.clip_len == 1 and self.table.lengths[indices].max(initial=1) == 1:
            return np.zeros((len(indices), 1), dtype=np.int64)
        generator = stream_generator(Stream.TRAIN_FRAMES, self.seed, epoch, step)
        lengths = self.table.lengths[indices].tolist()
        return np.stack(
            [frame_indices(n, self.frame_mode, self.clip_len, generator, last_window=self.last_window) for n in lengths]
        )

    def _prepare(self, answer: tuple[_Step, Tensor, np.ndarray]) -> Batch:
        step, pixels, readable = answer
        indices = step.indices
        if not readable.all():
            slots = self._replace(step, readable)
            indices = indices[slots]
            frames = (slots[:, None] * self.clip_len + np.arange(self.clip_len)).ravel()
            pixels = pixels[:, torch.from_numpy(frames).to(pixels.device)]
        pixels = pixels.to(self.device, non_blocking=True)
        images = [
            view.apply_batch(pixels[number if step.crops else 0], params)
            for number, (view, params) in enumerate(zip(self.views, step.params))
        ]
        fields = np.stack([self.targets[indices], self.table.camids[indices], indices])
        targets, camids, positions = upload(torch.from_numpy(fields), self.device)
        return Batch(images, targets, camids, positions, self.clip_len)

    def _replace(self, step: _Step, readable: np.ndarray) -> np.ndarray:
        """int64 (b,): for each slot the slot whose sample it shows."""
        self.corrupt.report(self.table.paths[row] for row in step.rows[~readable])
        good = np.all(readable.reshape(-1, self.clip_len), axis=1)
        if not good.any():
            raise UserError("No image of a training batch can be read: check DATASETS.ROOT.")
        targets = self.targets[step.indices]
        slots = np.arange(len(good))
        usable = np.flatnonzero(good)
        for slot in np.flatnonzero(~good):
            mates = usable[targets[usable] == targets[slot]]
            slots[slot] = mates[0] if len(mates) else usable[0]
        return slots


def _tensors(batch: Batch) -> list[Tensor]:
    return [*batch.views, batch.targets, batch.camids, batch.indices]
