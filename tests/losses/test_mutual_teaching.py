"""The four losses together: weights, options and where gradients go."""

from __future__ import annotations

import pytest
import torch

from unreid.config import get_cfg
from unreid.losses import (
    MutualTeachingLoss,
    Outputs,
    RankedLabelSmoothing,
    WeightedAdaptiveTriplet,
    soft_entropy,
)


def outputs(requires_grad: bool = False) -> Outputs:
    return Outputs(torch.randn(8, 6, requires_grad=requires_grad), torch.randn(8, 4, requires_grad=requires_grad))


TARGETS = torch.arange(4).repeat_interleave(2)


def test_weights_are_the_teachers_shares() -> None:
    student, teacher = outputs(), outputs()
    loss = MutualTeachingLoss(soft_id_weight=0.5, soft_tri_weight=0.8)
    terms, losses = loss.terms(student, teacher, TARGETS), loss(student, teacher, TARGETS)
    factors = {"id": 0.5, "tri": 0.2, "soft_id": 0.5, "soft_tri": 0.8}
    assert losses.keys() == factors.keys()
    for name, factor in factors.items():
        assert float(losses[name]) == pytest.approx(factor * float(terms[name]), rel=1e-6)


def test_gradients_reach_the_student_and_never_the_teacher() -> None:
    student, teacher = outputs(True), outputs(True)
    torch.stack(list(MutualTeachingLoss()(student, teacher, TARGETS).values())).sum().backward()
    assert all(tensor.grad is not None and tensor.grad.any() for tensor in student)
    assert all(tensor.grad is None for tensor in teacher)


def test_options_come_from_the_documented_keys() -> None:
    cfg = get_cfg()
    cfg.merge_from_list(
        ["MODEL.LOSSES.ID_OPTION", 3, "MODEL.LOSSES.ID_K", 7, "MODEL.LOSSES.CE.EPSILON", 0.2]
        + ["MODEL.LOSSES.TRI_OPTION", 2, "MODEL.LOSSES.TRI_MARGIN", 0.3, "MODEL.LOSSES.TRI_LAMBDA", -0.01]
    )
    loss = MutualTeachingLoss.from_config(cfg)
    assert isinstance(loss.identity, RankedLabelSmoothing) and isinstance(loss.triplet, WeightedAdaptiveTriplet)
    assert (loss.identity.k, loss.identity.epsilon) == (7, 0.2)
    assert (loss.triplet.margin, loss.triplet.lambda_) == (0.3, -0.01)


def test_soft_entropy_is_smallest_where_the_student_agrees() -> None:
    teacher = torch.randn(5, 7)
    student = teacher.clone().requires_grad_()
    loss = soft_entropy(student, teacher)
    (gradient,) = torch.autograd.grad(loss, student)
    assert float(gradient.abs().max()) < 1e-6
    assert float(soft_entropy(torch.randn(5, 7), teacher)) > float(loss.detach())
