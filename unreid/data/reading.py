"""From a file to uint8 pixels of a fixed size: the deterministic beginning of every transform."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unreid.data.augment_params import sized_crop_box
from unreid.data.decoding import read_image
from unreid.utils.errors import UserError

__all__ = ["CorruptImages", "Resize", "read_image", "read_pixels"]

logger = logging.getLogger(__name__)

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True)
class Resize:
    """Pillow's resize, as all references use it: it differs from torch's by a few grey levels.

    Attributes:
        size: height and width in pixels.
        interpolation: "bicubic" or "bilinear".
    """

    size: tuple[int, int]
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        if self.interpolation not in _FILTERS:
            raise ValueError(f"unknown interpolation {self.interpolation!r}; known: {', '.join(_FILTERS)}")

    def __call__(self, image: Image.Image, crop: np.ndarray | None = None) -> Tensor:
        """uint8 (3, H, W) of an RGB image.

        Args:
            crop: uniform numbers (tries, 4) of BUC's random rectangle, which is cut out before the resize.
        """
        height, width = self.size
        box = None if crop is None else sized_crop_box(crop, image.height, image.width)
        if box is not None:
            top, left, h, w = box
            image = image.crop((left, top, left + w, top + h))
        resized = image.resize((width, height), _FILTERS[self.interpolation])
        return torch.from_numpy(np.array(resized)).permute(2, 0, 1)


def read_pixels(paths: Sequence[str], resize: Resize, out: Tensor, crops: np.ndarray | None = None) -> np.ndarray:
    """Decodes and resizes some images into ``out``.

    Args:
        out: uint8 (n, 3, H, W), written; the rows of unreadable images become zero.
        crops: uniform numbers (n, tries, 4) of random rectangles, or None.

    Returns:
        bool (n,), which of them could be read.
    """
    readable = np.ones(len(paths), dtype=bool)
    for row, path in enumerate(paths):
        try:
            out[row] = resize(read_image(path), None if crops is None else crops[row])
        except UserError:
            out[row] = 0
            readable[row] = False
    return readable


@dataclass
class CorruptImages:
    """What happens when an image cannot be read, and which ones that were.

    Attributes:
        skip: leave unreadable images out (each is warned about once) instead of stopping.
        paths: the unreadable files met so far.
    """

    skip: bool = False
    paths: set[str] = field(default_factory=set)

    def report(self, paths: Iterable[str]) -> None:
        """Takes note of unreadable files.

        Raises:
            UserError: there is one, and ``skip`` is off.
        """
        unreadable = sorted(set(paths))
        if unreadable and not self.skip:
            more = f" {len(unreadable) - 1} more cannot be read." if len(unreadable) > 1 else ""
            raise UserError(
                f"{_why(unreadable[0])}{more} Replace what is unreadable, or set DATALOADER.SKIP_CORRUPT True to leave "
                "such images out."
            )
        for path in unreadable:
            if path not in self.paths:
                self.paths.add(path)
                logger.warning("%s It is left out (%d so far).", _why(path), len(self.paths))


def _why(path: str) -> str:
    """The sentence for an unreadable file; it comes from trying again, as workers tell only which files those were."""
    try:
        read_image(path)
    except UserError as error:
        return str(error)
    return f"Cannot read image {path}: it could not be read a moment ago."
