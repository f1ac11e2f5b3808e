"""From a feature map to one vector per frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unreid.utils.errors import UserError
from unreid.utils.registry import Registry

POOLINGS: Registry[type[Pooling]] = Registry("pooling")


class Pooling(nn.Module):
    """Pools each of ``stripes`` horizontal bands of the map and concatenates them from top to bottom.

    Bands are those of adaptive pooling: equal where the height divides, overlapping by a row where it does not.
    Computed in float32 at least, whatever autocast chose for the map.

    Args:
        stripes: number of bands; 1 pools over the whole map.

    Attributes:
        key: of the config, that says how many; for messages.
    """

    key = "MODEL.POOLING.STRIPES"

    def __init__(self, stripes: int = 1) -> None:
        super().__init__()
        if stripes < 1:
            raise ValueError(f"the number of stripes is at least 1, not {stripes}")
        self.stripes = stripes

    def forward(self, maps: Tensor) -> Tensor:
        """float (N, C, h, w) -> float32 or float64 (N, stripes * C)."""
        if self.stripes > maps.shape[2]:
            raise UserError(
                f"{self.key} is {self.stripes} but the feature map is only {maps.shape[2]} rows high: "
                "use fewer stripes, larger images or MODEL.BACKBONE.LAST_STRIDE 1."
            )
        if maps.dtype in (torch.float16, torch.bfloat16):
            maps = maps.float()
        with torch.autocast(maps.device.type, enabled=False):
            bands = self.pool(maps)
        return bands.squeeze(3).transpose(1, 2).flatten(1)

    def pool(self, maps: Tensor) -> Tensor:
        """float (N, C, h, w) -> (N, C, stripes, 1)."""
        raise NotImplementedError


@POOLINGS.register("avg")
class AveragePooling(Pooling):
    """Mean over the positions of a band."""

    def pool(self, maps: Tensor) -> Tensor:
        if self.stripes > 1 and maps.shape[2] % self.stripes == 0 and maps.is_contiguous():
            return maps.unflatten(2, (self.stripes, -1)).mean(dim=(3, 4)).unsqueeze(3)  # 2 to 30 times as fast
        return F.adaptive_avg_pool2d(maps, (self.stripes, 1))


@POOLINGS.register("max")
class MaxPooling(Pooling):
    """Maximum over the positions of a band."""

    def pool(self, maps: Tensor) -> Tensor:
        return F.adaptive_max_pool2d(maps, (self.stripes, 1))


@POOLINGS.register("avg+max")
class AverageMaxPooling(Pooling):
    """Sum of mean and maximum."""

    def pool(self, maps: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(maps, (self.stripes, 1)) + F.adaptive_max_pool2d(maps, (self.stripes, 1))


@POOLINGS.register("gem")
class GeneralizedMeanPooling(Pooling):
    """GeM: ``(mean_hw max(x, eps)^p)^(1/p)`` with one learnable exponent (Radenovic et al., TPAMI 2019).

    Args:
        stripes: number of bands; the exponent is shared by all.
        p: start of the exponent, parameter ``p`` of shape (1,). It is not constrained and takes weight decay.
        eps: smallest activation.
    """

    def __init__(self, stripes: int = 1, p: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__(stripes)
        self.p = nn.Parameter(torch.full((1,), p))
        self.eps = eps

    def pool(self, maps: Tensor) -> Tensor:
        powered = maps.clamp(min=self.eps).pow(self.p)
        return F.adaptive_avg_pool2d(powered, (self.stripes, 1)).pow(1.0 / self.p)


def mean_over_frames(frames: Tensor, clip_len: int) -> Tensor:
    """(B * clip_len, ...) -> (B, ...)."""
    return frames if clip_len == 1 else frames.unflatten(0, (-1, clip_len)).mean(dim=1)


def build_pooling(name: str, stripes: int = 1) -> Pooling:
    """The pooling registered under ``name``: "avg", "max", "gem" or "avg+max"."""
    return POOLINGS.get(name)(stripes)
