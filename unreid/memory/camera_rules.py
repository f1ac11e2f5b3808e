"""3C's camera-aware update rules (arXiv 2408.09464): the samples of a class fall into groups of one camera.

Groups are ordered by the batch position of their first sample. All rules keep the signature of
:mod:`unreid.memory.update_rules`; the (P, K) layout holds a group at the position of its first sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from unreid.memory.grouping import first_true, masked_argmin, pick
from unreid.memory.update_rules import blend, blend_in_order, similarities, update_rule


@dataclass(frozen=True)
class CameraGroups:
    """Camera groups inside the classes of a batch.

    Attributes:
        same: bool (P, K, K), two valid samples of one class and one camera.
        leader: bool (P, K), first sample of its group.
        leader_index: int64 (P, K), position of the group's first sample.
    """

    same: Tensor
    leader: Tensor
    leader_index: Tensor


def camera_groups(valid: Tensor, camids: Tensor | None) -> CameraGroups:
    """Finds the groups; raises ``ValueError`` without cameras."""
    if camids is None:
        raise ValueError("this update rule needs camids")
    same = (camids.unsqueeze(2) == camids.unsqueeze(1)) & valid.unsqueeze(2) & valid.unsqueeze(1)
    leader_index = first_true(same)
    position = torch.arange(valid.shape[1], device=valid.device)
    return CameraGroups(same, valid & (leader_index == position), leader_index)


def group_means(samples: Tensor, same: Tensor) -> Tensor:
    """L2-normalised mean of every sample's camera group: (P, K, D), (P, K, K) -> (P, K, D).

    Accumulated in float64, so that neither TF32 nor the order of the sum decides which group is chosen.
    """
    means = same.double() @ samples.double() / same.sum(-1, keepdim=True).clamp(min=1)
    return F.normalize(means, dim=-1).to(samples.dtype)


@update_rule("camera", "cm_camera", needs=("camids",))
def first_of_every_camera(
    rows: Tensor, samples: Tensor, valid: Tensor, camids: Tensor | None, momentum: float
) -> Tensor:
    """The first sample of every camera group, group after group."""
    return blend_in_order(rows, samples, camera_groups(valid, camids).leader, momentum)


@update_rule("hard_camera", "cm_hard_camera", needs=("camids",))
def hardest_of_every_camera(
    rows: Tensor, samples: Tensor, valid: Tensor, camids: Tensor | None, momentum: float
) -> Tensor:
    """Of every camera group the sample least similar to the row before any update, group after group."""
    groups = camera_groups(valid, camids)
    similarity = similarities(rows, samples).unsqueeze(1).expand(groups.same.shape)
    hardest = masked_argmin(similarity, groups.same)
    picks = samples.gather(1, hardest.unsqueeze(-1).expand_as(samples))
    return blend_in_order(rows, picks, groups.leader, momentum)


@update_rule("tccl", "tccl_camera", needs=("camids",))
def hardest_camera_mean(rows: Tensor, samples: Tensor, valid: Tensor, camids: Tensor | None, momentum: float) -> Tensor:
    """The camera group mean least similar to the row, once per class (Camera Contrast Learning, unofficial form)."""
    groups = camera_groups(valid, camids)
    means = group_means(samples, groups.same)
    hardest = masked_argmin(similarities(rows, means), groups.leader)
    return blend(rows, pick(means, hardest), momentum)


def camera_harmonic_discrepancy(rows: Tensor, samples: Tensor, groups: CameraGroups) -> Tensor:
    """CHD of every sample: harmonic mean of (1 - x.z)/2 and (1 + x.c)/2, in [0, 1]; (P, K).

    z is the row before the update, c the normalised mean of the sample's camera group.
    """
    far = 1.0 - similarities(rows, samples)
    near = 1.0 + (samples * group_means(samples, groups.same)).sum(-1)
    return far * near / (far + near).clamp(min=1e-12)


@update_rule("chd", "hd_camera", needs=("camids",))
def most_discrepant_sample(
    rows: Tensor, samples: Tensor, valid: Tensor, camids: Tensor | None, momentum: float
) -> Tensor:
    """The sample of largest CHD over all cameras, once per class; the first group, then the first sample on ties."""
    chosen = select_most_discrepant(rows, samples, valid, camids)
    return blend(rows, pick(samples, chosen), momentum)


def select_most_discrepant(rows: Tensor, samples: Tensor, valid: Tensor, camids: Tensor | None) -> Tensor:
    """Position (in the class) of the sample that "chd" takes: int64 (P,)."""
    groups = camera_groups(valid, camids)
    value = camera_harmonic_discrepancy(rows, samples, groups).masked_fill(~valid, -torch.inf)
    largest = valid & (value == value.amax(-1, keepdim=True))
    return masked_argmin(groups.leader_index.to(value.dtype), largest)
