"""Losses that are not a memory's own: plain functions and small modules, usable with any method."""

from __future__ import annotations

from unreid.losses.camera_entropy import CameraEntropy, camera_entropy, camera_entropy_weights
from unreid.losses.label_preserving import label_preserving_loss
from unreid.losses.support_samples import Supports, interpolation_degree, nearest_other_rows, support_samples

__all__ = [
    "CameraEntropy",
    "Supports",
    "camera_entropy",
    "camera_entropy_weights",
    "interpolation_degree",
    "label_preserving_loss",
    "nearest_other_rows",
    "support_samples",
]
