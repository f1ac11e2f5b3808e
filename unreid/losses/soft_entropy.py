"""Distillation of class probabilities: the student's cross-entropy against the teacher's softmax."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unreid.utils.arrays import ArrayLike, as_rows


def soft_entropy(student: ArrayLike, teacher: ArrayLike) -> Tensor:
    """``mean_b -sum_c softmax(teacher) log softmax(student)`` (MMT, Ge et al., ICLR 2020).

    Args:
        student: float (B, C) logits.
        teacher: float (B, C) logits; they get no gradient.

    Returns:
        Scalar, at least float32.
    """
    student = as_rows(student, "student logits")
    teacher = as_rows(teacher, "teacher logits", student.shape[1]).to(student.device)
    dtype = torch.promote_types(student.dtype, torch.float32)
    target = F.softmax(teacher.detach().to(dtype), dim=1)
    return -(target * F.log_softmax(student.to(dtype), dim=1)).sum(dim=1).mean()
