"""Losses that are not a memory's own: plain functions and small modules, usable with any method."""

from __future__ import annotations

from unreid.losses.camera_entropy import CameraEntropy, camera_entropy, camera_entropy_weights
from unreid.losses.label_preserving import label_preserving_loss, label_preserving_loss_of
from unreid.losses.support_samples import Supports, interpolation_degree, support_samples
from unreid.losses.support_similarity import SupportSimilarities, support_similarities

__all__ = [
    "CameraEntropy",
    "SupportSimilarities",
    "Supports",
    "camera_entropy",
    "camera_entropy_weights",
    "interpolation_degree",
    "label_preserving_loss",
    "label_preserving_loss_of",
    "support_samples",
    "support_similarities",
]
