"""Distillation of class probabilities: the student's cross-entropy against the teacher's softmax."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from unreid.utils.arrays import ArrayLike, as_rows, at_least_float32


def soft_entropy(student: ArrayLike, teacher: ArrayLike) -> Tensor:
    """``mean_b -sum_c softmax(teacher) log softmax(student)`` (MMT, Ge et al., ICLR 2020).

    Args:
        student: float (B, C) logits.
        teacher: float (B, C) logits; they get no gradient.

    Returns:
        Scalar, at least float32.
    """
    student = at_least_float32(as_rows(student, "student logits"))
    teacher = as_rows(teacher, "teacher logits", student.shape[1]).to(student)
    return -(F.softmax(teacher.detach(), dim=1) * F.log_softmax(student, dim=1)).sum(dim=1).mean()
