"""Records of samples, and what a step shows of them and a network says about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Tracklet:
    """One training, query or gallery sample: an image (one path) or a sequence of frames from one camera.

    It carries no identity: identities live in :class:`GroundTruth`, beside the records and indexed like them.

    Attributes:
        paths: absolute paths of the frames, in time order; exactly one for an image.
        camid: camera, 0-based.
        trackid: number of the pass it was cut from; unique within a split. Clips of one pass share it.
        frames: frame numbers on the clock of the camera, one per path, or None when the names hold no time.
    """

    paths: tuple[str, ...]
    camid: int
    trackid: int
    frames: tuple[int, ...] | None = None


def camids_of(tracklets: Sequence[Tracklet]) -> np.ndarray:
    """int64 (N,), the cameras of some records."""
    return np.array([tracklet.camid for tracklet in tracklets], dtype=np.int64)


@dataclass(frozen=True)
class GroundTruth:
    """Identities of a list of tracklets. Only evaluation and diagnostic hooks receive it, never a method.

    Attributes:
        pids: int64 (N,), raw identities; 0 and below have the meaning the dataset gives them.
    """

    pids: np.ndarray

    def __len__(self) -> int:
        return len(self.pids)


@dataclass
class Batch:
    """One training step's input on one process, already on the device.

    Attributes:
        views: one or two float tensors (B * clip_len, 3, H, W), frames of a clip adjacent; views of one batch differ
            in their augmentation only.
        targets: int64 (B,), pseudo labels >= 0.
        camids: int64 (B,), 0-based.
        indices: int64 (B,), positions in the full training list (outliers counted).
        clip_len: frames per sample T; 1 for images.
        source: in domain adaptation an equally large batch of the labelled source; its targets are identities and its
            indices positions in the source's list.
    """

    views: Sequence[Tensor]
    targets: Tensor
    camids: Tensor
    indices: Tensor
    clip_len: int = 1
    source: Batch | None = None

    def __len__(self) -> int:
        return len(self.targets)


@dataclass
class ModelOutput:
    """What the embedding model returns for B samples.

    Attributes:
        pooled: (B, D_backbone), mean over frames of the pooled map; neither BN nor normalisation applied.
        embedding: (B, D), after the bottleneck and L2 normalisation (see ``models/embedding.py`` for clips).
        logits: (B, num_classes) or None when the model has no classifier.
        neck: (B, D), after the bottleneck and not normalised (mean over frames).
        parts: (B, P, C) or None when the model has no part heads: their features, not normalised.
        part_logits: (B, P, num_classes) or None, of the classifiers of the parts; training mode only.
    """

    pooled: Tensor
    embedding: Tensor
    logits: Tensor | None = None
    neck: Tensor | None = None
    parts: Tensor | None = None
    part_logits: Tensor | None = None
