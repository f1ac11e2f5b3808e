"""From the config to a backbone with its start weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from unreid.models.base import find_backbone
from unreid.models.pretrained import load_pretrained, warn_about_pixel_statistics
from unreid.utils.errors import UserError
from unreid.utils.pixels import TIMM, pixel_statistics

if TYPE_CHECKING:
    from unreid.config import CfgNode


def build_backbone(cfg: CfgNode, *, pretrained: bool = True) -> nn.Module:
    """The backbone that ``cfg.MODEL.BACKBONE`` describes; options that a variant does not know are left out."""
    node = cfg.MODEL.BACKBONE
    for key, value, plain in (("CAMERAS", node.CAMERAS, 0), ("STRIDE", node.STRIDE, 16)):
        if node.NAME.startswith(TIMM) and value != plain:
            raise UserError(
                f"MODEL.BACKBONE.{key} is for vit_small and vit_base, not for {node.NAME}: set it to {plain}."
            )
    entry = find_backbone(node.NAME)
    options = {
        "last_stride": node.LAST_STRIDE or 1,
        "own_stride": node.LAST_STRIDE,
        "output": node.OUTPUT,
        "test_size": tuple(cfg.INPUT.SIZE_TEST),
        "stem_relu": node.STEM_RELU,
        "stem_ceil": node.STEM_CEIL,
        "width": node.WIDTH,
        "image_size": tuple(cfg.INPUT.SIZE_TRAIN),
        "patch_stride": node.STRIDE,
        "cameras": node.CAMERAS,
    }
    backbone = entry.build(**entry.accepts(options))
    if pretrained and node.PRETRAIN:
        load_pretrained(
            backbone,
            node.NAME,
            version=node.PRETRAIN_VERSION,
            path=node.PRETRAIN_PATH,
            min_match=node.MIN_MATCH,
        )
        warn_about_pixel_statistics(node.NAME, *pixel_statistics(cfg))
    return backbone
