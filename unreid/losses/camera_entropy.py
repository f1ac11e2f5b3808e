"""3C's camera information entropy (CIE): clusters seen by many cameras weigh more."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from unreid.utils.arrays import ArrayLike, as_integers
from unreid.utils.errors import InputError


class CameraEntropy(NamedTuple):
    """CIE of a batch, per sample (samples of one cluster share the values).

    Attributes:
        weights: float32 (B,), ``P exp(H_y) / sum over the P clusters present of exp(H)``.
        bits: float32 (B,), base-2 entropy H_y of the cameras of the sample's cluster in the batch.
    """

    weights: Tensor
    bits: Tensor


def camera_entropy(targets: ArrayLike, camids: ArrayLike) -> CameraEntropy:
    """Weights by the camera entropy of each cluster in the batch (3C, section on camera confidence).

    The entropy is that of the batch, not of the whole cluster: the sampler's choice of cameras is part of the method.
    Note the mixed bases of the published code: entropy in bits, natural exponential. No host copies, no gradient.

    Args:
        targets: int64 (B,).
        camids: int64 (B,).

    Raises:
        InputError: the shapes differ, or there is no sample.
    """
    targets = as_integers(targets, "targets")
    camids = as_integers(camids, "camids", len(targets)).to(targets.device)
    if not len(targets):
        raise InputError("targets must be integers of shape (B,) with B at least 1, not of an empty batch.")
    same_cluster = targets.unsqueeze(1) == targets
    members = same_cluster.sum(1).double()
    # The share p of the sample's own camera; a mean of -log2 p over the members is the entropy.
    share = (same_cluster & (camids.unsqueeze(1) == camids)).sum(1) / members
    bits = (same_cluster * -share.log2()).sum(1) / members
    score = bits.exp()
    # Every cluster counts once in the sums over clusters: its n members count 1 / n each.
    weights = score * (1.0 / members).sum() / (score / members).sum()
    return CameraEntropy(weights.float(), bits.float())


def camera_entropy_weights(targets: ArrayLike, camids: ArrayLike) -> Tensor:
    """Only the weights of :func:`camera_entropy`: factors of the samples' losses, float32 (B,)."""
    with torch.no_grad():
        return camera_entropy(targets, camids).weights
