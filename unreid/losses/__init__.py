"""Losses that are not a memory's own: plain functions and small modules, usable with any method."""

from __future__ import annotations

from unreid.losses.base import LOSSES, Loss, LossInputs
from unreid.losses.camera_entropy import CameraEntropy, camera_entropy, camera_entropy_weights
from unreid.losses.identity import (
    CrossEntropy,
    LabelSmoothing,
    RankedLabelSmoothing,
    ranked_smoothed_cross_entropy,
    smoothed_cross_entropy,
)
from unreid.losses.label_preserving import label_preserving_loss
from unreid.losses.mutual_teaching import MutualTeachingLoss, Outputs
from unreid.losses.nearest_clusters import nearest_clusters
from unreid.losses.part_agreement import agreement_smoothed_loss, cross_agreement, refined_label_loss
from unreid.losses.proxies import (
    camera_balanced_weights,
    hardest_others,
    inter_camera_contrast,
    intra_camera_loss,
    offline_positives,
    online_positives,
    proxy_loss,
    proxy_table,
)
from unreid.losses.soft_entropy import soft_entropy
from unreid.losses.support_samples import Supports, interpolation_degree, support_samples
from unreid.losses.triplet import (
    SoftMarginTriplet,
    Triplets,
    WeightedAdaptiveTriplet,
    hardest_triplets,
    soft_margin_triplet,
    soft_triplet,
    triplet_distances,
    weighted_adaptive_triplet,
)

__all__ = [
    "CameraEntropy",
    "CrossEntropy",
    "LOSSES",
    "LabelSmoothing",
    "Loss",
    "LossInputs",
    "MutualTeachingLoss",
    "Outputs",
    "RankedLabelSmoothing",
    "SoftMarginTriplet",
    "Supports",
    "Triplets",
    "WeightedAdaptiveTriplet",
    "agreement_smoothed_loss",
    "camera_balanced_weights",
    "camera_entropy",
    "camera_entropy_weights",
    "cross_agreement",
    "hardest_others",
    "hardest_triplets",
    "inter_camera_contrast",
    "interpolation_degree",
    "intra_camera_loss",
    "label_preserving_loss",
    "nearest_clusters",
    "offline_positives",
    "online_positives",
    "proxy_loss",
    "proxy_table",
    "ranked_smoothed_cross_entropy",
    "refined_label_loss",
    "smoothed_cross_entropy",
    "soft_entropy",
    "soft_margin_triplet",
    "soft_triplet",
    "support_samples",
    "triplet_distances",
    "weighted_adaptive_triplet",
]
