"""Sampled negatives of large banks."""

from __future__ import annotations

import pytest
import torch

from unreid.memory import ClusterMemory
from unreid.memory.contrast import contrastive_loss
from unreid.memory.negatives import sampled_contrastive_loss
from unreid.utils.errors import UserError

from .batches import random_batch, unit


def test_all_rows_drawn_is_the_exact_loss_with_its_gradient() -> None:
    batch = random_batch(0, 7, clusters=20, dim=6)
    grads = []
    for loss in (
        lambda x: contrastive_loss(x, batch["bank"], batch["y"], temp=0.1),
        lambda x: sampled_contrastive_loss(x, batch["bank"], batch["y"], torch.randperm(20), temp=0.1),
    ):
        x = batch["x"].clone().requires_grad_()
        value = loss(x)
        value.backward()
        grads.append((value, x.grad))
    torch.testing.assert_close(grads[0], grads[1])


def test_the_sum_of_exponentials_is_estimated_without_bias() -> None:
    batch = random_batch(1, 5, clusters=30, dim=6)
    weights = torch.eye(5)

    def partition(candidates: torch.Tensor, i: int) -> float:
        own = (batch["x"][i] @ batch["bank"][batch["y"][i]] / 0.5).item()
        losses = sampled_contrastive_loss(
            batch["x"], batch["bank"], batch["y"], candidates, temp=0.5, weights=weights[i] * 5
        )
        return (losses + own).exp().item()

    generator = torch.Generator().manual_seed(0)
    draws = [torch.randperm(30, generator=generator)[:6] for _ in range(1500)]
    for i in range(5):
        exact = partition(torch.arange(30), i)
        mean = sum(partition(draw, i) for draw in draws) / len(draws)
        assert mean == pytest.approx(exact, rel=0.02)


def test_error_shrinks_with_the_number_of_negatives() -> None:
    bank, y = unit(400, 16), torch.arange(32)
    x = unit(32, 16)
    exact = contrastive_loss(x, bank, y, temp=0.2)
    errors = []
    for n in (8, 64, 384):
        losses = [sampled_contrastive_loss(x, bank, y, torch.randperm(400)[:n], temp=0.2) for _ in range(20)]
        errors.append((torch.stack(losses) - exact).abs().mean().item())
    assert errors[0] > errors[1] > errors[2]


def test_a_memory_draws_again_after_every_update_and_alike_after_a_resume() -> None:
    memory = ClusterMemory(6, negatives=4, seed=3)
    memory.bank = unit(30, 6)
    x, y = unit(8, 6), torch.arange(8)
    first = memory(x, y)
    assert torch.equal(memory(x, y), first)
    memory.updates += 1
    second = memory(x, y)
    assert not torch.equal(second, first)
    resumed = ClusterMemory(6, negatives=4, seed=3)
    resumed.load_state_dict(memory.state_dict())
    assert torch.equal(resumed(x, y), second)


def test_as_many_negatives_as_there_are_is_the_exact_loss() -> None:
    bank, x, y = unit(5, 6), unit(8, 6), torch.arange(8) % 5
    losses = []
    for negatives in (0, 4, 100):
        memory = ClusterMemory(6, negatives=negatives)
        memory.bank = bank
        losses.append(memory(x, y))
    assert torch.equal(losses[0], losses[1]) and torch.equal(losses[0], losses[2])


def test_smoothing_and_sampling_exclude_each_other() -> None:
    with pytest.raises(UserError, match="use one"):
        ClusterMemory(6, negatives=4, smooth=0.1)
