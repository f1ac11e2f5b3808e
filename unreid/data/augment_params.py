"""The numbers that decide how a batch of training images is augmented, drawn at once for the whole batch."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from unreid.data.erasing import draw_erase_boxes
from unreid.data.streams import Stream, stream_generator

SIZED_CROP_TRIES = 10
SIZED_CROP_AREA = (0.64, 1.0)
SIZED_CROP_RATIO = (2.0, 3.0)


@dataclass(frozen=True)
class ColorJitter:
    """Strengths of the colour jitter: factors from U(max(0, 1 - s), 1 + s), hue shift from U(-hue, hue)."""

    prob: float = 0.8
    brightness: float = 0.15
    contrast: float = 0.15
    saturation: float = 0.1
    hue: float = 0.1


@dataclass(frozen=True)
class AugmentParams:
    """One row per image; what is switched off is None.

    Attributes:
        flip: bool (n,), mirror horizontally.
        offset: int64 (n, 2), top and left of the crop in the padded image, or None: keep the padded image.
        erase: int64 (n, 4), top, left, height, width in the output image (height 0: not erased), or None.
        jitter: bool (n,), apply colour jitter, or None.
        jitter_order: int64 (n, 4), order of brightness 0, contrast 1, saturation 2, hue 3, or None.
        jitter_factor: float32 (n, 4), factors indexed by adjustment, or None.
        channel: float32 (n, 2, 3), gain and offset per channel for pixels in [0, 1], or None.
        sized_crop: float64 (n, tries, 4) of uniform numbers, see :func:`sized_crop_box`, or None.
    """

    flip: np.ndarray
    offset: np.ndarray | None = None
    erase: np.ndarray | None = None
    jitter: np.ndarray | None = None
    jitter_order: np.ndarray | None = None
    jitter_factor: np.ndarray | None = None
    channel: np.ndarray | None = None
    sized_crop: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.flip)

    def rows(self, index: slice | np.ndarray) -> AugmentParams:
        """The parameters of some of the images."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: value[index] for name, value in values.items() if value is not None})


@dataclass(frozen=True)
class AugmentRecipe:
    """What is drawn, and how strongly.

    Attributes:
        size: height and width of the image that is erased.
        flip_prob: probability of a mirror image; 0: never.
        padding: pixels added on each side before the crop; 0: no padding, no crop.
        crop: cut the padded image back to its size at a random place.
        sized_crop: BUC's random rectangle of the native image.
        erase_prob: probability of random erasing; 0: off.
        erase_variant: see :func:`unreid.data.erasing.draw_erase_boxes`.
        jitter: colour jitter or None.
        channel_jitter: j of a gain 1 + U(-j, j) and an offset U(-j, j) per image and channel; 0: off.
    """

    size: tuple[int, int]
    flip_prob: float = 0.5
    padding: int = 10
    crop: bool = True
    sized_crop: bool = False
    erase_prob: float = 0.5
    erase_variant: str = "zhong"
    jitter: ColorJitter | None = None
    channel_jitter: float = 0.0

    def draw(self, n: int, seed: int, epoch: int, step: int, view: int) -> AugmentParams:
        """Parameters of the ``n`` images (clips x frames) of one view of one global batch.

        A pure function of its arguments. The kinds are drawn from independent streams, so that switching one of them
        on does not change the others.
        """

        def generator(kind: int) -> np.random.Generator:
            return stream_generator(Stream.AUGMENT, seed, epoch, step, view, kind)

        flip = generator(0).random(n) < self.flip_prob
        offset = erase = channel = sized = None
        applied = order = factors = None
        if self.padding and self.crop:
            offset = generator(1).integers(0, 2 * self.padding + 1, size=(n, 2))
        if self.erase_prob:
            erase = draw_erase_boxes(generator(2), n, *self.size, prob=self.erase_prob, variant=self.erase_variant)
        if self.channel_jitter:
            channel = generator(3).uniform(-self.channel_jitter, self.channel_jitter, size=(n, 2, 3))
            channel = (channel + np.array([1.0, 0.0])[:, None]).astype(np.float32)
        if self.sized_crop:
            sized = generator(4).random((n, SIZED_CROP_TRIES, 4))
        if self.jitter is not None:
            applied, order, factors = _draw_jitter(generator(5), n, self.jitter)
        return AugmentParams(flip, offset, erase, applied, order, factors, channel, sized)


def sized_crop_box(uniforms: np.ndarray, height: int, width: int) -> tuple[int, int, int, int] | None:
    """The random rectangle of a native image that BUC's published code cuts out: up to ten tries.

    Each try takes a share U(0.64, 1) of the area and a height / width ratio U(2, 3), and is accepted when the
    rectangle fits into the image.

    Args:
        uniforms: float (tries, 4) in [0, 1): area, ratio, and the two coordinates of the corner.

    Returns:
        top, left, height, width; or None when no try fits (the whole image is resized then).
    """
    area = (SIZED_CROP_AREA[0] + np.diff(SIZED_CROP_AREA) * uniforms[:, 0]) * (height * width)
    ratio = SIZED_CROP_RATIO[0] + np.diff(SIZED_CROP_RATIO) * uniforms[:, 1]
    heights = np.rint(np.sqrt(area * ratio)).astype(np.int64)
    widths = np.rint(np.sqrt(area / ratio)).astype(np.int64)
    fits = np.flatnonzero((heights <= height) & (widths <= width))
    if not len(fits):
        return None
    h, w = int(heights[fits[0]]), int(widths[fits[0]])
    top, left = uniforms[fits[0], 2:] * (height - h + 1, width - w + 1)
    return int(top), int(left), h, w


def _draw_jitter(
    generator: np.random.Generator, n: int, jitter: ColorJitter
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    strengths = np.array([jitter.brightness, jitter.contrast, jitter.saturation])
    low, high = np.maximum(0.0, 1 - strengths), 1 + strengths
    applied = generator.random(n) < jitter.prob
    order = generator.permuted(np.tile(np.arange(4), (n, 1)), axis=1)
    factors = np.concatenate(
        [generator.uniform(low, high, size=(n, 3)), generator.uniform(-jitter.hue, jitter.hue, size=(n, 1))], axis=1
    )
    return applied, order, factors.astype(np.float32)
