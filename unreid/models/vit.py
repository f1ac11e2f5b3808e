"""Vision transformers for upright crops: timm's blocks over overlapping patches, with an optional camera embedding."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unreid.models.base import WeightSource, register_backbone
from unreid.utils.errors import UserError

PATCH = 16
CAMERA_WEIGHT = 3.0
PERSON_GRIDS = {128: ((256, 128), 16), 210: ((256, 128), 12), 192: ((384, 128), 16), 310: ((384, 128), 12)}
"""Patches of published person models -> image size and step between patches."""
_DINO = "https://dl.fbaipublicfiles.com/dino/"


class VisionTransformer(nn.Module):
    """ViT with 16 x 16 patches whose class token is the feature, returned as a 1 x 1 map.

    Position embeddings belong to the patch grid of ``image_size`` and are interpolated (bicubic) for images of another
    size and when weights for another grid are loaded. Parameter names are timm's, which DINO shares.

    Args:
        variant: timm's name of the network; width, depth and heads come from there.
        image_size: height and width of training images, in pixels.
        patch_stride: step between patches; below 16 they overlap (TransReID, He et al., ICCV 2021: 12).
        cameras: rows of a learned embedding that is added, times 3, to every token; 0: none (TransReID's side
            information).

    Attributes:
        feature_dim: width of the tokens.
        takes_cameras: ``forward`` needs camera ids.
        signed_output: features may be negative, so GeM pooling would cut them.
    """

    signed_output = True

    def __init__(
        self, variant: str, *, image_size: tuple[int, int] = (256, 128), patch_stride: int = PATCH, cameras: int = 0
    ) -> None:
        import timm

        super().__init__()
        if min(image_size) < PATCH:
            raise UserError(
                f"A ViT needs images of at least {PATCH} pixels a side, not {image_size}: see INPUT.SIZE_TRAIN."
            )
        if not 1 <= patch_stride <= PATCH:
            raise ValueError(f"the patch stride lies in 1..{PATCH}, not {patch_stride}")
        height, width = ((side - PATCH) // patch_stride + 1 for side in image_size)
        self.grid = (height, width)
        # without overlap this image size has the same number of patches, so timm sizes the position embedding
        net: Any = timm.create_model(variant, pretrained=False, num_classes=0, img_size=(height * PATCH, width * PATCH))
        self.feature_dim = int(net.embed_dim)
        self.takes_cameras = cameras > 0
        self.patch_embed = net.patch_embed
        self.patch_embed.proj.stride = (patch_stride, patch_stride)
        self.cls_token = net.cls_token
        self.pos_embed = net.pos_embed
        self.blocks = net.blocks
        self.norm = net.norm
        self.camera_embed = nn.Embedding(cameras, self.feature_dim) if cameras else None
        if self.camera_embed is not None:
            nn.init.trunc_normal_(self.camera_embed.weight, std=0.02)

    def forward(self, x: Tensor, camids: Tensor | None = None) -> Tensor:
        """float (N, 3, H, W) and, with a camera embedding, camera ids int64 (N,) -> float (N, feature_dim, 1, 1).

        Raises:
            ValueError: the camera ids are missing.
        """
        patches = self.patch_embed.proj(x)
        tokens = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), tokens), dim=1)
        height, width = patches.shape[2:]
        tokens = tokens + resample_positions(self.pos_embed, self.grid, (height, width))
        if self.camera_embed is not None:
            if camids is None:
                raise ValueError("a backbone with MODEL.BACKBONE.CAMERAS > 0 needs the camera id of every image")
            tokens = tokens + CAMERA_WEIGHT * self.camera_embed(camids).unsqueeze(1)
        return self.norm(self.blocks(tokens))[:, 0, :, None, None]

    def stages(self) -> dict[str, list[nn.Module | nn.Parameter]]:
        """Patches and positions as stem, then the blocks in four equal parts; see ``base.Backbone``."""
        parts: dict[str, list[nn.Module | nn.Parameter]] = {"stem": [self.patch_embed, self.cls_token, self.pos_embed]}
        quarter = math.ceil(len(self.blocks) / 4)
        for k in range(4):
            parts[f"layer{k + 1}"] = list(self.blocks[k * quarter : (k + 1) * quarter])
        parts["layer4"].append(self.norm)
        return parts

    def adapt_state_dict(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``state`` with its position embedding resampled to this network's patch grid."""
        adapted = dict(state)
        positions = adapted.get("pos_embed")
        if positions is not None and positions.ndim == 3 and positions.shape[2] == self.feature_dim:
            adapted["pos_embed"] = resample_positions(
                positions, guess_grid(positions.shape[1] - 1, self.grid), self.grid
            )
        return adapted


def resample_positions(positions: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Position embeddings (1, 1 + h * w, D), class token first, of grid ``old`` (h, w) -> of grid ``new``."""
    if old == new:
        return positions
    first, rest = positions[:, :1], positions[:, 1:]
    rest = rest.unflatten(1, old).permute(0, 3, 1, 2)
    rest = F.interpolate(rest.float(), size=new, mode="bicubic", align_corners=False)
    return torch.cat((first, rest.flatten(2).transpose(1, 2).to(first.dtype)), dim=1)


def grid_of(patches: int) -> tuple[int, int] | None:
    """Rows and columns of a published person model's patches, or None."""
    if patches not in PERSON_GRIDS:
        return None
    (height, width), stride = PERSON_GRIDS[patches]
    return (height - PATCH) // stride + 1, (width - PATCH) // stride + 1


def guess_grid(count: int, own: tuple[int, int]) -> tuple[int, int]:
    """Grid of ``count`` patches of a weight file: the network's own, square (ImageNet), twice as high as wide, or that
    of a published person model.

    Raises:
        UserError: none of them.
    """
    side, narrow = math.isqrt(count), math.isqrt(count // 2)
    for grid in (own, (side, side), (2 * narrow, narrow), grid_of(count)):
        if grid is not None and grid[0] * grid[1] == count:
            return grid
    raise UserError(f"The weight file has position embeddings of {count} patches, which is no known grid.")


def _register(size: str, letter: str, channels: int, weights: str) -> None:
    """A variant, with the weights of DINO."""

    def build(
        *, image_size: tuple[int, int] = (256, 128), patch_stride: int = PATCH, cameras: int = 0
    ) -> VisionTransformer:
        variant = f"vit_{size}_patch16_224"
        return VisionTransformer(variant, image_size=image_size, patch_stride=patch_stride, cameras=cameras)

    build.__doc__ = f"ViT-{letter}/16, {channels} channels; published weights: DINO."
    register_backbone(f"vit_{size}", weights=WeightSource({"V1": f"{_DINO}{weights}/{weights}.pth"}))(build)


_register("small", "S", 384, "dino_deitsmall16_pretrain")
_register("base", "B", 768, "dino_vitbase16_pretrain")
