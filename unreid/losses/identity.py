"""Identity losses over pseudo classes: cross-entropy, label smoothing, and AuxUSL's ranked label smoothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unreid.utils.arrays import ArrayLike, as_batch

CROSS_ENTROPY, SMOOTHED, RANKED = 1, 2, 3  # values of MODEL.LOSSES.ID_OPTION


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
    return F.cross_entropy(_full(logits), targets, label_smoothing=epsilon)


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
        epsilon: smoothing mass.
        k: clusters that share it; None: K.

    Returns:
        Scalar, at least float32.
    """
    logits, targets = as_batch(logits, targets, "logits")
    nearest = torch.as_tensor(nearest, device=logits.device)
    log_probability = F.log_softmax(_full(logits), dim=1)
    own = log_probability.gather(1, targets.unsqueeze(1)).squeeze(1)
    near = log_probability.gather(1, nearest[targets]).sum(dim=1)
    return -((1.0 - epsilon) * own + epsilon / max(1, k or nearest.shape[1]) * near).mean()


class IdentityLoss:
    """The identity loss that ``MODEL.LOSSES.ID_OPTION`` names.

    Args:
        option: 1 cross-entropy, 2 label smoothing (LSCE), 3 ranked label smoothing (RLSCE).
        epsilon: smoothing mass of 2 and 3.
        k: nearest clusters that share it in 3.

    Attributes:
        nearest: int64 (C, <= k), nearest other clusters of the current round; needed by option 3.

    Raises:
        ValueError: an unknown option.
    """

    def __init__(self, option: int = CROSS_ENTROPY, *, epsilon: float = 0.1, k: int = 4) -> None:
        if option not in (CROSS_ENTROPY, SMOOTHED, RANKED):
            raise ValueError(f"the identity loss is 1 (CE), 2 (LSCE) or 3 (RLSCE), not {option}")
        self.option = option
        self.epsilon = epsilon
        self.k = k
        self.nearest: Tensor | None = None

    @property
    def ranks_clusters(self) -> bool:
        """The loss reads :attr:`nearest`."""
        return self.option == RANKED

    def __call__(self, logits: ArrayLike, targets: ArrayLike) -> Tensor:
        """Scalar loss of float (B, C) logits and int64 (B,) targets."""
        if self.option == RANKED:
            if self.nearest is None:
                raise ValueError("RLSCE needs the nearest clusters of the round")
            return ranked_smoothed_cross_entropy(logits, targets, self.nearest, self.epsilon, self.k)
        return smoothed_cross_entropy(logits, targets, self.epsilon if self.option == SMOOTHED else 0.0)


def _full(logits: Tensor) -> Tensor:
    """At least float32: the smoothing weights of half precision have three digits."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
