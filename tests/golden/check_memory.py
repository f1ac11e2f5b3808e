"""Recorded cases of the cluster memories and of the losses that go with them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unreid.memory import ClusterMemory

from .cases import Case, checks


def tensors(case: Case) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(array)) for name, array in case.arrays().items()}


def close(actual: Tensor, expected: Tensor, *, rtol: float = 0.0, atol: float = 0.0) -> None:
    torch.testing.assert_close(actual.detach().to(expected.dtype), expected, rtol=rtol, atol=atol)


def cluster_memory(bank: Tensor, **options: object) -> ClusterMemory:
    memory = ClusterMemory(bank.shape[1], **options)  # type: ignore[arg-type]
    memory.bank = bank.clone()
    return memory


@checks("common", "ClusterMemory (every-sample update)", "ClusterMemory (hardest-sample update)")
def check_cluster_memory(case: Case) -> None:
    data, params = tensors(case), case.params
    memory = cluster_memory(
        data["memory_before"], update=params["sample_type"], temp=params["temp"], momentum=params["momentum"]
    )
    inputs = data["inputs"].requires_grad_()
    loss = memory(inputs, data["targets"])
    loss.backward()
    memory.update(inputs, data["targets"])
    close(loss, data["loss"], rtol=1e-5)
    close(inputs.grad, data["grad_inputs"], atol=1e-6)
    close(memory.bank, data["memory_after"], atol=1e-5)
