"""SpCL's hybrid memory against loops over all of its rows."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given

from unreid.config import get_cfg
from unreid.memory import HybridMemory, build_memory
from unreid.utils.errors import UserError

from .batches import clustering_of, seeds, sizes, unit

DIM = 8


def filled(labels: torch.Tensor, **options: object) -> HybridMemory:
    memory = HybridMemory(DIM, **options)  # type: ignore[arg-type]
    memory.reset(unit(len(labels), DIM), clustering_of(labels))
    return memory


def test_loss_equals_the_masked_softmax_over_all_rows() -> None:
    memory = filled(torch.tensor([0, 0, 1, 1, 1, 3, -1, -1]), temp=0.2)
    x, indices = unit(4, DIM), torch.tensor([0, 4, 6, 0])
    total = 0.0
    labels = [0, 0, 1, 1, 1, 3, 4, 5]
    for sample, index in zip(x, indices.tolist()):
        energy = {}
        for k in set(labels):
            members = [n for n in range(8) if labels[n] == k]
            energy[k] = math.exp(sum(float(sample @ memory.instances[n]) / 0.2 for n in members) / len(members))
        share = energy[labels[index]] / (sum(energy.values()) + 1e-6)
        total -= math.log(share + 1e-6) / 4
    loss = memory(x, torch.zeros(4, dtype=torch.int64), indices=indices)
    assert loss.item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("temp", [0.01, 0.002])
def test_a_low_temperature_is_no_overflow(temp: float) -> None:
    labels = torch.tensor([0, 0, 1, 1, 3, -1])
    memory = filled(labels, temp=temp)
    inputs = unit(6, DIM).requires_grad_()
    loss = memory(inputs, labels.clamp(min=0), indices=torch.arange(6))
    loss.backward()
    means = memory.class_sum.double() / memory.class_size.clamp(min=1).unsqueeze(1)
    energy = torch.exp(inputs.detach().double() @ means.t() / temp) * (memory.class_size > 0)
    share = energy.gather(1, memory.labels.unsqueeze(1))[:, 0] / (energy.sum(1) + 1e-6)
    assert loss.item() == pytest.approx(float(-torch.log(share + 1e-6).mean()), rel=1e-4)
    assert inputs.grad is not None and inputs.grad.isfinite().all()


@given(seeds, sizes)
def test_updates_are_sequential_and_class_sums_follow(seed: int, size: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(-1, 4, (10,), generator=generator)
    memory = filled(labels, momentum=0.3)
    expected = memory.instances.double()
    indices = torch.randint(10, (size,), generator=generator)  # repeats are likely
    x = unit(size, DIM, generator=generator)
    memory.update(x, labels[indices].clamp(min=0), indices=indices)
    for sample, index in zip(x.double(), indices.tolist()):
        expected[index] = F.normalize(0.3 * expected[index] + 0.7 * sample, dim=0)
    torch.testing.assert_close(memory.instances.double(), expected, rtol=0, atol=1e-6)
    for k in range(memory.num_clusters):
        members = expected[memory.labels == k]
        torch.testing.assert_close(memory.class_sum[k].double(), members.sum(0), rtol=0, atol=1e-5)


def test_running_class_sums_do_not_drift() -> None:
    labels = torch.arange(64) % 9
    memory = filled(labels)
    for step in range(500):
        indices = torch.randint(64, (16,), generator=torch.Generator().manual_seed(step))
        memory.update(unit(16, DIM), labels[indices], indices=indices)
    running = memory.class_sum.clone()
    memory.set_labels(labels)
    torch.testing.assert_close(running, memory.class_sum, rtol=0, atol=1e-5)


def test_outliers_are_classes_of_their_own_after_the_clusters() -> None:
    memory = filled(torch.tensor([-1, 1, 0, -1, 1]))
    assert memory.labels.tolist() == [2, 1, 0, 3, 1] and memory.num_clusters == 4
    torch.testing.assert_close(memory.rows[2], memory.instances[0])
    memory.set_labels(torch.full((5,), -1))
    assert memory.labels.tolist() == [0, 1, 2, 3, 4]


def test_new_labels_keep_the_rows() -> None:
    memory = filled(torch.arange(6) % 2)
    rows = memory.instances.clone()
    memory.set_labels(torch.tensor([0, 0, 0, 2, 2, 2]))
    assert torch.equal(memory.instances, rows) and memory.class_size.tolist() == [3, 0, 3]
    assert memory.rows[1].eq(0).all()
    with pytest.raises(ValueError, match="6 rows but labels"):
        memory.set_labels(torch.zeros(5, dtype=torch.int64))


def test_support_samples_without_a_row_use_their_targets() -> None:
    labels = torch.arange(6) % 3
    memory, x = filled(labels), unit(6, DIM)
    assert torch.equal(memory(x, labels), memory(x, labels, indices=torch.arange(6)))


def test_half_precision_rows_halve_the_memory_and_keep_the_loss() -> None:
    labels = torch.arange(40) % 5
    rows, x = unit(40, DIM), unit(10, DIM)
    losses = {}
    for storage in ("float32", "float16"):
        memory = HybridMemory(DIM, storage=storage)
        memory.reset(rows, clustering_of(labels))
        memory.update(x, labels[:10], indices=torch.arange(10))
        losses[storage] = memory(x, labels[:10], indices=torch.arange(10))
    assert memory.bank.dtype == torch.float16 and memory.class_sum.dtype == torch.float32
    torch.testing.assert_close(losses["float16"], losses["float32"], rtol=0, atol=0.02)
    running = memory.class_sum.clone()
    memory.set_labels(labels)
    torch.testing.assert_close(running, memory.class_sum, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="storage must be one of"):
        HybridMemory(DIM, storage="int8")


def test_builds_from_the_config() -> None:
    cfg = get_cfg()
    cfg.MEMORY.NAME, cfg.MEMORY.MOMENTUM, cfg.MEMORY.STORAGE = "HybridMemory", 0.2, "float16"
    memory = build_memory(cfg, DIM)
    assert isinstance(memory, HybridMemory) and memory.momentum == 0.2 and memory.bank.dtype == torch.float16
    for key, value in (("NEGATIVES", 4), ("SMOOTH", 0.1)):
        bad = get_cfg()
        bad.MEMORY.NAME = "HybridMemory"
        bad.MEMORY[key] = value
        with pytest.raises(UserError, match=f"MEMORY.{key} does not work with HybridMemory"):
            build_memory(bad, DIM)
