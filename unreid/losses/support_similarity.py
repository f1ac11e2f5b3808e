"""Everything ISE's losses ask of the support samples, without matrix products on the supports themselves.

A support is ``s = (f + a (c_near - c_own)) / |..|``, a combination of one feature and two memory rows. Its products
with the rows and with other features therefore follow from ``F C^T`` and ``F F^T``, and so do their gradients: for one
support a sample, a training step costs two (B, D) x (D, C) products forward and one backward, where supports as rows of
their own cost three and two.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from unreid.losses.support_samples import Supports, allowed_topk, nearest_of


class SupportSimilarities(NamedTuple):
    """Similarities of B features and their B * k supports (sample-major), with gradient to the features.

    Attributes:
        rows: (B + B * k, C), to the memory rows: features first, then supports.
        pairs: (B, B * k), of the features to the supports.
        supports: the supports themselves, without gradient, for the memory update.
    """

    rows: Tensor
    pairs: Tensor
    supports: Supports


def support_similarities(
    features: Tensor,
    rows: Tensor,
    targets: Tensor,
    *,
    degree: float,
    topk: int = 1,
    clamp_topk: bool = False,
) -> SupportSimilarities:
    """The same supports as :func:`~unreid.losses.support_samples.support_samples`, seen through their similarities.

    ``rows`` of the result goes to ``ClusterMemory`` as the field ``similarity``, ``pairs`` to
    :func:`~unreid.losses.label_preserving.label_preserving_loss_of`. Arguments and errors as there.
    """
    k = allowed_topk(len(rows), topk, clamp_topk)
    with torch.autocast(features.device.type, enabled=False):
        features, rows = features.to(rows.dtype), rows.detach()
        real = features @ rows.t()
        near_similarity, neighbors = nearest_of(real.detach(), targets, k)
        near, own = neighbors.flatten(), targets.repeat_interleave(k)
        move = 0.5 * degree * (rows[neighbors] - rows[targets].unsqueeze(1)).flatten(0, 1)
        row_shift = move @ rows.t()

        # f_i . f_j; one of the two factors detached, so that backward needs one product instead of two.
        half = features @ features.detach().t()
        gram = half + (half.t() - half.detach())
        support = torch.arange(len(near), device=features.device)
        sample = support // k
        # f_i . move_j and |f_j + move_j|^2; move_j . move_j is read off the products of the moves with the rows.
        pair_shift = 0.5 * degree * (real[:, near] - real[:, own])
        move_length = 0.5 * degree * (row_shift[support, near] - row_shift[support, own])
        norm = gram.diagonal()[sample] + 2.0 * pair_shift[sample, support] + move_length
        scale = norm.clamp(min=1e-24).rsqrt()

        pairs = (gram.repeat_interleave(k, dim=1) + pair_shift) * scale
        moved = (real.unsqueeze(1) + row_shift.unflatten(0, (-1, k))) * scale.view(-1, k, 1)
        with torch.no_grad():
            vectors = (features.unsqueeze(1) + move.unflatten(0, (-1, k))) * scale.view(-1, k, 1)
    return SupportSimilarities(
        torch.cat((real, moved.flatten(0, 1))),
        pairs,
        Supports(vectors.flatten(0, 1), own, neighbors, near_similarity),
    )
