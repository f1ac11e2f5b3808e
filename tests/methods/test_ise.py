from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.methods.toys import at_step, toy_batch, toy_clustering, toy_method
from unreid.methods import Method
from unreid.utils.errors import UserError

LABELS = torch.arange(16) % 4
CAMIDS = torch.arange(16) // 4 % 3
BATCH = torch.tensor([0, 4, 8, 12, 2, 6, 10, 14, 3, 7, 11, 15])

ABLATION = {  # the rows of the paper's table: supports in the memory, weight of the label-preserving loss
    "baseline": (False, 0.0),
    "+PLI": (True, 0.0),
    "+LP": (False, 0.1),
    "+PLI +LP": (True, 0.1),
}


def ise(*overrides: Any, update: str = "hard", labels: Tensor = LABELS) -> Method:
    common = ("METHOD.NAME", "ISE", "MEMORY.UPDATE", update, "MEMORY.MOMENTUM", 0.2)
    method = toy_method(*common, *overrides, camids=CAMIDS)
    method.plan(toy_clustering(labels), 0)
    return method


def slow_step(f: Tensor, y: Tensor, bank: Tensor, progress: float, update: str) -> tuple[Tensor, Tensor, Tensor]:
    """Memory loss, label-preserving loss and new bank of ISE (CVPR 2022), one sample at a time."""
    degree = 0.5 * math.log(1 + (math.e - 1) * progress)
    supports, labels = [], y.tolist()
    for row, own in zip(f, labels):
        near = max((c for c in range(len(bank)) if c != own), key=lambda c: float(row.detach() @ bank[c]))
        moved = row + 0.5 * degree * (bank[near] - bank[own])
        supports.append(moved / moved.norm())
    rows = [*f, *supports]
    memory = torch.stack([F.cross_entropy(bank @ row / 0.05, torch.tensor(c)) for row, c in zip(rows, labels * 2)])
    terms = []
    for row, own in zip(f, labels):
        energy = [torch.exp(row @ support / 0.6) for support in supports]
        of_class = {c: [e for e, label in zip(energy, labels) if label == c] for c in set(labels)}
        positive = min(of_class.pop(own))
        negative = sum(max(group) for group in of_class.values())
        terms.append(-torch.log(positive / (positive + negative + 1e-6) + 1e-6))
    new = bank.clone()
    for c in set(labels):
        members = [row.detach() for row, label in zip(rows, labels * 2) if label == c]
        if update == "hard":
            members = [min(members, key=lambda row: float(row @ bank[c]))]
        for row in members:
            new[c] = F.normalize(0.2 * new[c] + 0.8 * row, dim=0)
    return memory.mean(), torch.stack(terms).mean(), new


@pytest.mark.parametrize("update", ["hard", "all"])
def test_a_whole_step_equals_one_written_from_the_paper(update: str) -> None:
    method = ise(update=update)
    bank, at = method.memory.bank.clone(), at_step(27)
    batch = toy_batch(BATCH, LABELS, CAMIDS)
    f = method.model(batch.views[0]).embedding
    memory, preserving, new = slow_step(f, batch.targets, bank, 27 / 40, update)
    expected = torch.autograd.grad(memory + 0.1 * preserving, method.model.linear.weight)[0]

    output = method.step(batch, at)
    torch.testing.assert_close(output.losses["memory"], memory)
    torch.testing.assert_close(output.losses["label_preserving"], 0.1 * preserving)
    sum(output.losses.values()).backward()
    torch.testing.assert_close(method.model.linear.weight.grad, expected, rtol=1e-4, atol=1e-5)
    method.after_step(output.cache, at)
    torch.testing.assert_close(method.memory.bank, new)


def test_at_the_first_step_the_supports_are_the_features() -> None:
    method = ise("METHOD.ISE.LP.WEIGHT", 0.0)
    batch = toy_batch(BATCH, LABELS, CAMIDS)
    output = method.step(batch, at_step(0))
    real, supports = output.cache.features.chunk(2)
    torch.testing.assert_close(supports, real)
    torch.testing.assert_close(output.losses["memory"], method.memory(real, batch.targets))
    assert torch.equal(output.cache.targets, batch.targets.repeat(2))


def test_supports_move_further_as_the_run_goes_on() -> None:
    method = ise()
    batch = toy_batch(BATCH, LABELS, CAMIDS)
    gaps = []
    for step in (0, 10, 20, 39):
        real, supports = method.step(batch, at_step(step)).cache.features.chunk(2)
        gaps.append(float((supports - real).norm(dim=1).mean()))
    assert gaps == sorted(gaps) and gaps[0] < 1e-4 < gaps[1]


@pytest.mark.parametrize("update", ["hard", "all"])
def test_both_switches_off_give_cluster_contrast_bit_for_bit(update: str) -> None:
    off = ise("METHOD.ISE.SUPPORT_IN_MEMORY", False, "METHOD.ISE.LP.WEIGHT", 0.0, update=update)
    plain = toy_method("MEMORY.UPDATE", update, "MEMORY.MOMENTUM", 0.2, camids=CAMIDS)
    plain.plan(toy_clustering(LABELS), 0)
    batch, at = toy_batch(BATCH, LABELS, CAMIDS), at_step(17)
    for method in (off, plain):
        output = method.step(batch, at)
        sum(output.losses.values()).backward()
        method.after_step(output.cache, at)
        assert output.losses.keys() == {"memory"}
    assert torch.equal(off.model.linear.weight.grad, plain.model.linear.weight.grad)
    assert torch.equal(off.memory.bank, plain.memory.bank)


@pytest.mark.parametrize("row", ABLATION)
def test_every_row_of_the_ablation_is_a_config_change(row: str) -> None:
    in_memory, weight = ABLATION[row]
    method = ise("METHOD.ISE.SUPPORT_IN_MEMORY", in_memory, "METHOD.ISE.LP.WEIGHT", weight)
    output = method.step(toy_batch(BATCH, LABELS, CAMIDS), at_step(20))
    assert ("label_preserving" in output.losses) == (weight > 0)
    assert len(output.cache.features) == (2 if in_memory else 1) * len(BATCH)


def test_supports_are_the_same_whatever_the_memory_is_told() -> None:
    """A memory that takes similarities and one that does not give the same loss and gradient."""
    results = []
    for name, update in (("ClusterMemory", "all"), ("DiversityMemory", "cm")):
        method = ise("MEMORY.NAME", name, update=update)
        output = method.step(toy_batch(BATCH, LABELS, CAMIDS), at_step(30))
        sum(output.losses.values()).backward()
        results.append((output.losses, method.model.linear.weight.grad, output.cache.features))
    (first, gradient, rows), (second, other_gradient, other_rows) = results
    for name, value in first.items():
        torch.testing.assert_close(value, second[name])
    torch.testing.assert_close(gradient, other_gradient, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rows, other_rows)


def test_the_order_of_a_batch_does_not_matter_to_hard_updates() -> None:
    order = torch.randperm(len(BATCH), generator=torch.Generator().manual_seed(5))
    banks, losses = [], []
    for shuffled in (False, True):
        method = ise()
        batch = toy_batch(BATCH, LABELS, CAMIDS)
        if shuffled:
            batch.views, batch.targets = [batch.views[0][order]], batch.targets[order]
            batch.camids, batch.indices = batch.camids[order], batch.indices[order]
        output = method.step(batch, at_step(25))
        method.after_step(output.cache, at_step(25))
        banks.append(method.memory.bank)
        losses.append(torch.stack(list(output.losses.values())))
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(banks[0], banks[1])


def test_too_few_clusters_are_named_with_the_way_out() -> None:
    method = ise("METHOD.ISE.TOPK", 4)
    batch = toy_batch(BATCH, LABELS, CAMIDS)
    with pytest.raises(UserError, match=r"METHOD\.ISE\.TOPK = 4 needs at least 5 clusters.*has 4.*CLAMP_TOPK"):
        method.step(batch, at_step(3))
    clamped = ise("METHOD.ISE.TOPK", 4, "METHOD.ISE.CLAMP_TOPK", True)
    assert len(clamped.step(batch, at_step(3)).cache.features) == 4 * len(BATCH)
