"""PPLR: pseudo labels of the whole and of the parts of an image correct each other (Cho et al., CVPR 2022).

The cross agreement of an image and a part says how far the part's neighbourhood is that of the whole image: high for a
part that shows the person, low for one that shows what stands in front.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, softmax

_ROWS = 4096  # rows whose lists are compared at once


def cross_agreement(global_lists: Tensor, part_lists: Tensor) -> Tensor:
    """float32 (N,): Jaccard index of two neighbour lists of every sample (PPLR, eq. 3).

    Args:
        global_lists, part_lists: int64 (N, k), the k nearest samples (self included) by the feature of the image and
            by that of a part, each without repetition.

    Raises:
        ValueError: lists of different shapes.
    """
    if global_lists.shape != part_lists.shape or global_lists.ndim != 2:
        raise ValueError(f"expected lists of one shape (N, k), not {global_lists.shape} and {part_lists.shape}")
    k = global_lists.shape[1]
    shared = [
        (one[:, :, None] == other[:, None, :]).flatten(1).sum(1)
        for one, other in zip(global_lists.split(_ROWS), part_lists.split(_ROWS))
    ]
    both = torch.cat(shared).float()
    return both / (2 * k - both)


def refined_label_loss(
    logits: Tensor, part_logits: Tensor, targets: Tensor, agreement: Tensor, *, beta: float = 0.5
) -> Tensor:
    """Scalar: cross-entropy of the image against labels refined by its parts (PGLR, PPLR eq. 6 and 7).

    The target is ``beta * onehot + (1 - beta) * sum_p w_p softmax(part logits)`` with ``w = softmax over parts`` of the
    agreements; no gradient reaches the parts.

    Args:
        logits: (B, C), of the image.
        part_logits: (B, C, P).
        targets: int64 (B,).
        agreement: (B, P).
        beta: share of the pseudo label.
    """
    weights = softmax(agreement, dim=1)
    parts = (softmax(part_logits.detach(), dim=1) * weights[:, None, :]).sum(2)
    chance = log_softmax(logits, dim=1)
    own = chance.gather(1, targets[:, None])[:, 0]
    return -(beta * own + (1.0 - beta) * (parts * chance).sum(1)).mean()


def agreement_smoothed_loss(logits: Tensor, targets: Tensor, agreement: Tensor) -> Tensor:
    """Scalar: cross-entropy of a part, the more towards the uniform distribution the less it agrees (AALS, eq. 4).

    ``mean_i [a_i CE_i + (1 - a_i) KL(uniform || prediction_i)]``.

    Args:
        logits: (B, C), of one part.
        targets: int64 (B,).
        agreement: (B,), of that part.
    """
    chance = log_softmax(logits, dim=1)
    uniform = -chance.mean(1) - math.log(logits.shape[1])
    return (agreement * cross_entropy(logits, targets, reduction="none") + (1.0 - agreement) * uniform).mean()
