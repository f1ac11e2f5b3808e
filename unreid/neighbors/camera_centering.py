"""Features without what their cameras have in common.

Light, background and angle of a camera shift all of its features alike, so that images of one camera are near each
other whoever they show. Subtracting each camera's mean takes that shift out; it needs cameras and no labels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unreid.utils.arrays import ArrayLike, as_ids, as_rows
from unreid.utils.errors import InputError
from unreid.utils.means import segment_means

_ROWS = 2**16  # rows changed at once


@torch.no_grad()
def camera_centered(features: ArrayLike, camids: ArrayLike) -> Tensor:
    """Every row less the mean of its camera's rows, L2-normalised; in O(N D).

    A row of zeros, which stands for a sample that could not be read, counts for no mean and stays as it is. The only
    row of a camera would lose everything, so it is taken from the mean over all rows instead.

    Args:
        features: float (N, D), normalised or not.
        camids: cameras (N,), integers or strings.

    Returns:
        float (N, D) on the device of ``features``, a new tensor.

    Raises:
        InputError: no cameras, or not one for each row.
    """
    features = as_rows(features)
    if camids is None:
        raise InputError("camera-centred features need the camera of every sample (camids).")
    cameras = as_ids(camids, "camids", len(features)).to(features.device)
    cameras = torch.unique(cameras, return_inverse=True)[1]
    known = features.abs().amax(dim=1) > 0
    count = int(cameras.max()) + 1 if len(cameras) else 0
    means, sizes = segment_means(features, torch.where(known, cameras, -1), count, dtype=torch.float64)
    overall = (means * sizes.unsqueeze(1)).sum(dim=0) / sizes.sum().clamp(min=1)
    means[sizes == 1] = overall
    means = means.to(features.dtype)
    centered = torch.empty_like(features)
    for rows in torch.arange(len(features), device=features.device).split(_ROWS):
        centered[rows] = F.normalize(features[rows] - means[cameras[rows]], dim=1)
    centered[~known] = 0
    return centered
