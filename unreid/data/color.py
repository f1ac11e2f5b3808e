"""Colour adjustments of a batch, with one factor per image.

torchvision's functional forms take one factor for all images. These agree with ``adjust_brightness``,
``adjust_contrast``, ``adjust_saturation`` and ``adjust_hue`` of ``torchvision.transforms.v2.functional`` on float
images. All take ``images`` float (n, 3, H, W) in [0, 1] and ``factors`` float (n,), and return new images in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

_LUMA = (0.2989, 0.587, 0.114)


def adjust_brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Multiplies every image by its factor."""
    return (images * _column(factors)).clamp_(0, 1)


def adjust_contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Blends every image with the mean of its grey version."""
    return _blend(images, _grey(images).mean(dim=(1, 2, 3), keepdim=True), factors)


def adjust_saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Blends every image with its grey version."""
    return _blend(images, _grey(images), factors)


def adjust_hue(images: Tensor, factors: Tensor) -> Tensor:
    """Shifts the hue by a share of the colour circle, factors in [-0.5, 0.5]."""
    hue, saturation, value = _to_hsv(images)
    return _to_rgb((hue + factors.view(-1, 1, 1)) % 1.0, saturation, value)


ADJUSTMENTS = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)


def _column(factors: Tensor) -> Tensor:
    return factors.view(-1, 1, 1, 1)


def _grey(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(1)
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue).unsqueeze(1)


def _blend(images: Tensor, other: Tensor, factors: Tensor) -> Tensor:
    share = _column(factors)
    return (images * share + other * (1 - share)).clamp_(0, 1)


def _to_hsv(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue as a share of the circle, saturation and value; each (n, H, W). Grey pixels get hue 0."""
    red, green, blue = images.unbind(1)
    value, low = images.amax(1), images.amin(1)
    chroma = value - low
    grey = chroma == 0
    divisor = torch.where(grey, torch.ones_like(chroma), chroma)
    sector = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    hue = torch.where(grey, torch.zeros_like(sector), (sector / 6) % 1.0)
    return hue, chroma / torch.where(grey, torch.ones_like(value), value), value


def _to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """f(k) = v - v s max(0, min(k, 4 - k, 1)) with k = (offset + 6 h) mod 6 and offsets 5, 3, 1 for R, G, B."""
    offsets = torch.tensor([5.0, 3.0, 1.0], device=hue.device, dtype=hue.dtype).view(1, 3, 1, 1)
    k = (offsets + 6 * hue.unsqueeze(1)) % 6
    weight = torch.minimum(k, 4 - k).clamp_(0, 1)
    return (value * (1 - saturation * weight.movedim(1, 0)).clamp_(0, 1)).movedim(0, 1)
