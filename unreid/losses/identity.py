"""Identity losses over pseudo classes: cross-entropy, label smoothing, and AuxUSL's ranked label smoothing."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unreid.losses.base import LOSSES, Loss, LossInputs
from unreid.losses.nearest_clusters import nearest_clusters
from unreid.utils.arrays import ArrayLike, as_batch, at_least_float32
from unreid.utils.state import StateError, entries, require_tensor


def smoothed_cross_entropy(logits: ArrayLike, targets: ArrayLike, epsilon: float = 0.1) -> Tensor:
    """LSCE: mean cross-entropy with the target ``(1 - epsilon) onehot + epsilon / C``.

    Args:
        logits: float (B, C).
        targets: int64 (B,), in [0, C).
        epsilon: smoothing mass; 0 gives the plain cross-entropy.

    Returns:
        Scalar, at least float32.
    """
    logits, targets = as_batch(logits, targets, "logits")
    return F.cross_entropy(at_least_float32(logits), targets, label_smoothing=epsilon)


def ranked_smoothed_cross_entropy(
    logits: ArrayLike, targets: ArrayLike, nearest: ArrayLike, epsilon: float = 0.1, k: int | None = None
) -> Tensor:
    """RLSCE (AuxUSL): the smoothing mass goes to the nearest clusters only.

    The target is ``1 - epsilon`` on the own cluster, ``epsilon / k`` on each of its nearest clusters, 0 elsewhere. With
    fewer than k other clusters it sums to less than 1, as published.

    Args:
        logits: float (B, C).
        targets: int64 (B,), in [0, C).
        nearest: int64 (C, K), numbers of the nearest other clusters (:func:`nearest_clusters`).
        k: clusters that share it; None: K.

    Returns:
        Scalar, at least float32.
    """
    logits, targets = as_batch(logits, targets, "logits")
    nearest = torch.as_tensor(nearest, device=logits.device)
    log_probability = F.log_softmax(at_least_float32(logits), dim=1)
    own = log_probability.gather(1, targets.unsqueeze(1)).squeeze(1)
    near = log_probability.gather(1, nearest[targets]).sum(dim=1)
    return -((1.0 - epsilon) * own + epsilon / max(1, k or nearest.shape[1]) * near).mean()


@LOSSES.register("cross_entropy")
class CrossEntropy(Loss):
    """Mean cross-entropy of the classifier's logits."""

    reads_logits = True

    def __init__(self, epsilon: float = 0.0) -> None:
        self.epsilon = epsilon

    def __call__(self, inputs: LossInputs) -> Tensor:
        assert inputs.logits is not None
        return smoothed_cross_entropy(inputs.logits, inputs.targets, self.epsilon)


@LOSSES.register("label_smoothing", "lsce")
class LabelSmoothing(CrossEntropy):
    """Cross-entropy with label smoothing (LSCE); ``epsilon`` is ``MODEL.LOSSES.CE.EPSILON``."""

    @classmethod
    def from_config(cls, cfg: Any) -> LabelSmoothing:
        return cls(cfg.MODEL.LOSSES.CE.EPSILON)


@LOSSES.register("ranked_label_smoothing", "rlsce")
class RankedLabelSmoothing(Loss):
    """The smoothing mass goes to the nearest clusters only (RLSCE, AuxUSL).

    Args:
        epsilon: smoothing mass, ``MODEL.LOSSES.CE.EPSILON``.
        k: nearest clusters that share it, ``MODEL.LOSSES.ID_K``.

    Attributes:
        nearest: int64 (C, <= k), nearest other clusters of the current round.
    """

    reads_logits = True

    def __init__(self, epsilon: float = 0.1, k: int = 4) -> None:
        self.epsilon = epsilon
        self.k = k
        self.nearest: Tensor | None = None

    @classmethod
    def from_config(cls, cfg: Any) -> RankedLabelSmoothing:
        return cls(cfg.MODEL.LOSSES.CE.EPSILON, cfg.MODEL.LOSSES.ID_K)

    def begin_round(self, centres: Tensor) -> None:
        self.nearest = nearest_clusters(centres, self.k)

    def __call__(self, inputs: LossInputs) -> Tensor:
        if self.nearest is None:
            raise ValueError("RLSCE needs the nearest clusters of the round: call begin_round() first")
        assert inputs.logits is not None
        self.nearest = self.nearest.to(inputs.logits.device)  # a restored one comes from a file
        return ranked_smoothed_cross_entropy(inputs.logits, inputs.targets, self.nearest, self.epsilon, self.k)

    def state_dict(self) -> dict[str, Any]:
        return {"nearest": self.nearest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        nearest = entries(state, "the state of RLSCE", {"nearest": (Tensor, type(None))})["nearest"]
        if nearest is not None:
            require_tensor(nearest, "'nearest' of RLSCE", torch.int64, (None, None))
            if nearest.numel() and not 0 <= int(nearest.min()) <= int(nearest.max()) < len(nearest):
                raise StateError("'nearest' of RLSCE names clusters that are not there")
        self.nearest = nearest
