"""Where a network's feature comes from: the strength of its last map, laid over the crop."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unreid.models.embedding import EmbeddingModel


@torch.no_grad()
def activation_maps(model: EmbeddingModel, images: Tensor, camids: Tensor | None = None) -> Tensor | None:
    """The squared response over all channels, as Zhou et al. (OSNet, ICCV 2019, section 4.3) show it.

    It knows no class and no query.

    Args:
        images: float (B, 3, H, W), normalised, on the model's device.
        camids: int64 (B,), for a model with a camera embedding.

    Returns:
        float32 (B, H, W) in [0, 1], each map from its own least to its own greatest value; None for a network that
        keeps no map (a ViT gives its class token).
    """
    training = model.training
    model.eval()
    try:
        maps = model.forward_features(images, camids).float()
    finally:
        model.train(training)
    if maps.shape[2] * maps.shape[3] < 2:
        return None
    strength = maps.square().sum(1, keepdim=True)
    strength = F.interpolate(strength, size=images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    low, high = strength.amin((1, 2), keepdim=True), strength.amax((1, 2), keepdim=True)
    return (strength - low) / (high - low).clamp(min=1e-12)


def overlaid(image: np.ndarray, activation: np.ndarray, *, share: float = 0.55) -> np.ndarray:
    """A picture with a map over it, in the colours of "plasma", which are read alike without red or green.

    Args:
        image: uint8 (H, W, 3), RGB.
        activation: float (h, w) in [0, 1]; it is resized to the picture.
        share: of the map in the mixture.

    Returns:
        uint8 (H, W, 3).
    """
    import cv2

    height, width = image.shape[:2]
    grown = cv2.resize(np.asarray(activation, dtype=np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    levels = (np.clip(grown, 0, 1) * 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_PLASMA), cv2.COLOR_BGR2RGB)
    return (share * colours + (1 - share) * image).astype(np.uint8)
