"""The contrastive loss against a sample of the bank, for banks of very many rows."""

from __future__ import annotations

import torch
from torch import Tensor

from unreid.memory.contrast import cross_entropy
from unreid.utils.products import products


def sampled_contrastive_loss(
    inputs: Tensor,
    rows: Tensor,
    targets: Tensor,
    candidates: Tensor,
    *,
    temp: float = 0.05,
    weights: Tensor | None = None,
) -> Tensor:
    """Cross-entropy against the own row and uniformly drawn other rows, corrected for those left out.

    The sum of exponentials over the C - 1 other rows is replaced by (C - 1) / n times that over the n drawn ones, that
    is, ``log((C - 1) / n)`` is added to their logits. The estimate of the sum is unbiased; the loss, its logarithm, is
    too small on average by about ``var / (2 mean^2)`` of the estimate, which falls as 1 / n and vanishes when all rows
    are drawn. Cost (B + 1) n instead of (B + 1) C products, forward and backward.

    Args:
        inputs: (B, D).
        rows: (C, D), detached here.
        targets: int64 (B,).
        candidates: int64 (n,), distinct rows drawn without regard to the targets; a sample ignores its own.
        temp: softmax temperature.
        weights: (B,) or None.
    """
    rows = rows.detach()
    own = (inputs * rows[targets]).sum(1, keepdim=True) / temp
    others = products(inputs, rows[candidates]) / temp
    hit = targets.unsqueeze(1) == candidates
    drawn = (~hit).sum(1, keepdim=True)
    others = (others + torch.log((len(rows) - 1) / drawn)).masked_fill(hit, -torch.inf)
    logits = torch.cat((own, others), dim=1)
    return cross_entropy(logits, torch.zeros_like(targets), weights=weights)
