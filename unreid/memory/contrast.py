"""The loss that cluster memories share: softmax cross-entropy of similarities to class rows."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from unreid.utils.products import products


def contrastive_loss(
    inputs: Tensor,
    rows: Tensor,
    targets: Tensor,
    *,
    temp: float = 0.05,
    weights: Tensor | None = None,
    smooth: float = 0.0,
) -> Tensor:
    """``mean_i w_i CE(inputs_i rows^T / temp, y_i)`` (Cluster Contrast; CDSM's terms; BUC's repelled loss, eq. 2).

    Args:
        inputs: (B, D), already normalised where the method wants it.
        rows: (C, D), detached here.
        targets: int64 (B,).
        temp: softmax temperature.
        weights: (B,) or None for ones.
        smooth: label smoothing e; targets become (1 - e) onehot + e / C.
    """
    return cross_entropy(products(inputs, rows.detach()) / temp, targets, weights=weights, smooth=smooth)


def cross_entropy(logits: Tensor, targets: Tensor, *, weights: Tensor | None = None, smooth: float = 0.0) -> Tensor:
    """Mean over the batch of the weighted cross-entropy; the weights are not divided out. (B, C) -> scalar."""
    if weights is None:
        return F.cross_entropy(logits, targets, label_smoothing=smooth)
    losses = F.cross_entropy(logits, targets, label_smoothing=smooth, reduction="none")
    return (weights.to(losses.dtype) * losses).mean()
