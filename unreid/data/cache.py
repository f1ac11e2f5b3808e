"""Images decoded once and kept as uint8 pixels in memory, within one budget."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unreid.data.reading import CorruptImages, Resize, read_pixels
from unreid.utils.processors import usable_processors

logger = logging.getLogger(__name__)

CACHE_MODES = ("auto", "ram", "device", "off")
_MIB = 2**20
_CHUNK = 64  # images a thread decodes between two looks at the result
_DEVICE_SHARE = 0.25  # "auto" takes at most this share of the free device memory


@dataclass(frozen=True)
class CachedImages:
    """A decoded list of images.

    Attributes:
        pixels: uint8 (M, 3, H, W) in RAM or on the device, row = position in the list.
        readable: bool (M,); the pixels of unreadable images are zero.
    """

    pixels: Tensor
    readable: np.ndarray


class ImageCache:
    """The decoded images of a run, shared by training and extraction.

    Resizing is the first deterministic step of every transform, so what is kept is the resized image: a list of paths
    is decoded once per size and interpolation, by threads (Pillow releases the interpreter lock while it decodes).

    Args:
        mode: "auto": keep a list if it fits the rest of the budget, on ``device`` if it takes no more than a quarter
            of the memory free there, otherwise in RAM. "ram" and "device" fix the place. "off" keeps nothing.
        budget_mb: MiB for all lists together.
        corrupt: what to do with unreadable images.
        threads: decoding threads; None: one per processor this process may use.

    Raises:
        ValueError: an unknown mode.
    """

    def __init__(
        self,
        mode: str = "auto",
        budget_mb: float = 4096,
        device: torch.device | str = "cpu",
        *,
        corrupt: CorruptImages | None = None,
        threads: int | None = None,
    ) -> None:
        if mode not in CACHE_MODES:
            raise ValueError(f"unknown cache mode {mode!r}; known: {', '.join(CACHE_MODES)}")
        self.mode = mode
        self.device = torch.device(device)
        self.corrupt = corrupt or CorruptImages()
        self._left = int(budget_mb * _MIB)
        self._threads = threads or usable_processors()
        self._kept: dict[tuple[tuple[str, ...], Resize], CachedImages | None] = {}

    def get(self, paths: Sequence[str], resize: Resize) -> CachedImages | None:
        """The decoded list, or None when it does not fit (or the cache is off).

        Raises:
            UserError: an image cannot be read and corrupt images are not skipped.
        """
        if self.mode == "off":
            return None
        key = (tuple(paths), resize)
        if key not in self._kept:
            self._kept[key] = self._decode_if_it_fits(key[0], resize)
        return self._kept[key]

    def _decode_if_it_fits(self, paths: tuple[str, ...], resize: Resize) -> CachedImages | None:
        height, width = resize.size
        size = len(paths) * 3 * height * width
        if size > self._left:
            logger.log(
                logging.INFO if self.mode == "auto" else logging.WARNING,
                "%d images at %dx%d need %d MiB and DATALOADER.CACHE_MB has %d left: they are decoded when needed.",
                *(len(paths), height, width, size // _MIB, self._left // _MIB),
            )
            return None
        cached = self._decode(paths, resize)
        self._left -= size
        return CachedImages(cached.pixels.to(self._place(size)), cached.readable)

    def _place(self, size: int) -> torch.device:
        if self.mode == "device":
            return self.device
        if self.mode == "auto" and self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if size <= _DEVICE_SHARE * free:
                return self.device
        return torch.device("cpu")

    def _decode(self, paths: tuple[str, ...], resize: Resize) -> CachedImages:
        pixels = torch.empty((len(paths), 3, *resize.size), dtype=torch.uint8)
        readable = np.ones(len(paths), dtype=bool)

        def decode(begin: int) -> int:
            part = slice(begin, begin + _CHUNK)
            readable[part] = read_pixels(paths[part], resize, pixels[part])
            return begin

        with ThreadPoolExecutor(self._threads) as pool:
            try:
                for begin in pool.map(decode, range(0, len(paths), _CHUNK)):
                    part = slice(begin, begin + _CHUNK)
                    self.corrupt.report(path for path, good in zip(paths[part], readable[part]) if not good)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return CachedImages(pixels, readable)
