"""Train and test transforms, for one image or a batch on any device.

The first step, decoding and resizing, is :class:`unreid.data.reading.Resize`. What follows has no randomness of its
own: the parameters come from :meth:`AugmentRecipe.draw`, and the per-image form (torchvision's functional transforms)
and the batched form compute the same values from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from unreid.data.augment_params import AugmentParams, AugmentRecipe
from unreid.data.color import ADJUSTMENTS
from unreid.data.reading import Resize
from unreid.utils.pixels import IMAGENET_MEAN, IMAGENET_STD

PADDING_MODES = ("constant", "reflect", "edge")
_FUNCTIONAL = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)


@dataclass(frozen=True)
class TestTransform:
    """Resize, scale to [0, 1], normalise.

    Attributes:
        resize: size and interpolation.
        mean, std: RGB in [0, 1].
        channels_last: memory format of the result of :meth:`apply_batch`.
    """

    __test__ = False  # not a test class, whatever pytest thinks of the name

    resize: Resize
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    channels_last: bool = False

    def __call__(self, image: Image.Image) -> Tensor:
        """float32 (3, H, W) of an RGB image."""
        return self.apply_batch(self.resize(image).unsqueeze(0))[0]

    def apply_batch(self, pixels: Tensor) -> Tensor:
        """float32 (n, 3, H, W) of resized uint8 pixels (n, 3, H, W), on their device."""
        return _finish(_normalize(_to_unit(pixels), self.mean, self.std), self.channels_last)


@dataclass(frozen=True)
class TrainTransform:
    """Resize, flip, pad, crop, colour jitter, scale to [0, 1], channel jitter, normalise, erase.

    Attributes:
        resize: size and interpolation.
        recipe: what is drawn for every image.
        mean, std: RGB in [0, 1].
        erase_fill: written into erased boxes after normalisation. The published runs write the ImageNet mean there,
            which is not the mean colour in normalised space.
        padding_mode: "constant" (black), "reflect" or "edge".
        channels_last: memory format of the result of :meth:`apply_batch`.

    Raises:
        ValueError: an unknown padding mode, or a recipe for another size than the resize.
    """

    resize: Resize
    recipe: AugmentRecipe
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    erase_fill: tuple[float, float, float] = IMAGENET_MEAN
    padding_mode: str = "constant"
    channels_last: bool = False

    def __post_init__(self) -> None:
        if self.padding_mode not in PADDING_MODES:
            raise ValueError(f"unknown padding mode {self.padding_mode!r}; known: {', '.join(PADDING_MODES)}")
        if tuple(self.recipe.size) != tuple(self.resize.size):
            raise ValueError(f"the recipe is for {self.recipe.size} images, the resize gives {self.resize.size}")

    def base(self) -> TrainTransform:
        """CDSM's base view: no crop (so the padding stays, and the image is larger) and no erasing."""
        return replace(self, recipe=replace(self.recipe, crop=False, erase_prob=0.0))

    def __call__(self, image: Image.Image, params: AugmentParams, row: int = 0) -> Tensor:
        """float32 (3, H, W) of an RGB image, with the parameters in ``row``; torchvision's functional forms."""
        pixels = self.resize(image, None if params.sized_crop is None else params.sized_crop[row])
        return self.apply_one(pixels, params, row)

    def apply_one(self, pixels: Tensor, params: AugmentParams, row: int = 0) -> Tensor:
        """The same for resized uint8 pixels (3, H, W)."""
        height, width = self.recipe.size
        x = F.horizontal_flip(pixels) if params.flip[row] else pixels
        if self.recipe.padding:
            x = F.pad(x, [self.recipe.padding] * 4, padding_mode=self.padding_mode)
        if params.offset is not None:
            x = F.crop(x, *params.offset[row].tolist(), height, width)
        x = F.to_dtype(x, torch.float32, scale=True)
        if params.jitter is not None and params.jitter[row]:
            assert params.jitter_order is not None and params.jitter_factor is not None
            for kind in params.jitter_order[row].tolist():
                x = _FUNCTIONAL[kind](x, float(params.jitter_factor[row, kind]))
        if params.channel is not None:
            gain, shift = torch.from_numpy(params.channel[row])
            x = x * gain.view(3, 1, 1) + shift.view(3, 1, 1)
        x = F.normalize(x, list(self.mean), list(self.std))
        if params.erase is not None and params.erase[row, 2]:
            x = F.erase(x, *params.erase[row].tolist(), torch.tensor(self.erase_fill).view(3, 1, 1))
        return x

    def apply_batch(self, pixels: Tensor, params: AugmentParams) -> Tensor:
        """The same for a batch.

        Args:
            pixels: uint8 (n, 3, H, W), resized, on any device.
            params: n rows.

        Returns:
            float32 (n, 3, H, W) on that device; (H + 2 padding, W + 2 padding) when the recipe pads without a crop.
        """
        device = pixels.device
        flip = torch.from_numpy(params.flip)
        offset = None if params.offset is None else torch.from_numpy(params.offset)
        x = _to_unit(self._place(pixels, flip, offset))
        if params.jitter is not None:
            x = _jitter(x, params)
        if params.channel is not None:
            gain, shift = upload(torch.from_numpy(params.channel), device).unbind(1)
            x = x.mul_(gain[:, :, None, None]).add_(shift[:, :, None, None])
        x = _normalize(x, self.mean, self.std)
        if params.erase is not None:
            x = self._erase(x, upload(torch.from_numpy(params.erase), device))
        return _finish(x, self.channels_last)

    def _place(self, pixels: Tensor, flip: Tensor, offset: Tensor | None) -> Tensor:
        """Flip, pad and crop in one gather: every output pixel knows the row and column it comes from."""
        n, channels, height, width = pixels.shape
        pad = self.recipe.padding
        grow = 2 * pad if offset is None else 0
        corner = torch.zeros(n, 2, dtype=torch.int64) if offset is None else offset
        table = upload(torch.cat([corner - pad, flip[:, None]], dim=1), pixels.device)
        rows = table[:, 0:1] + torch.arange(height + grow, device=pixels.device)
        columns = table[:, 1:2] + torch.arange(width + grow, device=pixels.device)
        row_source, row_inside = self._source(rows, height)
        column_source, column_inside = self._source(columns, width)
        # The image is mirrored before it is padded, so the mirror acts on source columns.
        column_source = torch.where(table[:, 2:3] > 0, width - 1 - column_source, column_source)
        source = (row_source[:, :, None] * width + column_source[:, None, :]).flatten(1)
        placed = pixels.flatten(2).gather(2, source[:, None, :].expand(-1, channels, -1))
        placed = placed.view(n, channels, height + grow, width + grow)
        if pad and self.padding_mode == "constant":
            placed.mul_(row_inside[:, None, :, None] & column_inside[:, None, None, :])
        return placed

    def _source(self, position: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Positions in the padded image -> positions in the image, and whether they lie inside it."""
        inside = (position >= 0) & (position < length)
        if self.padding_mode == "reflect":
            position = position.abs()
            position = torch.where(position >= length, 2 * (length - 1) - position, position)
        return position.clamp(0, length - 1), inside

    def _erase(self, images: Tensor, boxes: Tensor) -> Tensor:
        top, left, height, width = boxes.unsqueeze(-1).unbind(1)
        rows = torch.arange(images.shape[2], device=images.device)
        columns = torch.arange(images.shape[3], device=images.device)
        in_rows = (rows >= top) & (rows < top + height)
        in_columns = (columns >= left) & (columns < left + width)
        box = in_rows[:, None, :, None] & in_columns[:, None, None, :]
        # Weights 0 and 1 keep either end exactly; three times as fast as torch.where with a broadcast condition.
        return images.lerp_(_channels(self.erase_fill, images), box.to(images.dtype))


def upload(values: Tensor, device: torch.device) -> Tensor:
    """A small host tensor on ``device``, without waiting for the device's queue."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def _jitter(images: Tensor, params: AugmentParams) -> Tensor:
    """Every image gets its adjustments in its own order; images that share (position, adjustment) go together."""
    assert params.jitter is not None and params.jitter_order is not None and params.jitter_factor is not None
    for position in range(len(ADJUSTMENTS)):
        for kind, adjust in enumerate(ADJUSTMENTS):
            rows = np.flatnonzero(params.jitter & (params.jitter_order[:, position] == kind))
            if len(rows):
                where = upload(torch.from_numpy(rows), images.device)
                factors = upload(torch.from_numpy(params.jitter_factor[rows, kind]), images.device)
                images[where] = adjust(images[where], factors)
    return images


def _to_unit(pixels: Tensor) -> Tensor:
    """uint8 -> float32 in [0, 1], rounded as torchvision's ``to_dtype`` does it."""
    return pixels.to(torch.float32).mul_(1.0 / 255)


def _normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    return images.sub_(_channels(mean, images)).div_(_channels(std, images))


def _channels(values: Sequence[float], like: Tensor) -> Tensor:
    return upload(torch.tensor(values, dtype=like.dtype), like.device).view(1, 3, 1, 1)


def _finish(images: Tensor, channels_last: bool) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last) if channels_last else images
