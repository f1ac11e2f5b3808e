"""Cluster Contrast's memory and its update rules against loops over samples."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from torch import Tensor

from unreid.config import get_cfg
from unreid.memory import UPDATE_RULES, ClusterMemory, build_memory
from unreid.memory.camera_rules import camera_groups
from unreid.structures import Clustering
from unreid.utils.errors import UserError

from .batches import clustering_of, random_batch, seeds, sizes, unit

MOMENTUM = 0.3


def ema(row: Tensor, x: Tensor) -> Tensor:
    return F.normalize(MOMENTUM * row + (1 - MOMENTUM) * x, dim=0)


def slow_update(rule: str, bank: Tensor, x: Tensor, y: Tensor, camids: Tensor) -> Tensor:
    """The definitions of the rules, in float64, one sample after the other."""
    bank, x = bank.double(), x.double()
    after = bank.clone()
    for label in dict.fromkeys(y.tolist()):
        members = [i for i in range(len(y)) if y[i] == label]
        cameras = list(dict.fromkeys(camids[members].tolist()))
        groups = [[i for i in members if camids[i] == camera] for camera in cameras]
        means = [F.normalize(x[group].mean(0), dim=0) for group in groups]
        similarity = {i: float(x[i] @ bank[label]) for i in members}

        def discrepancy(i: int, mean: Tensor, similarity: dict[int, float] = similarity) -> float:
            far, near = (1 - similarity[i]) / 2, float(1 + x[i] @ mean) / 2
            return 2 * far * near / (far + near)

        if rule == "all":
            chosen = [x[i] for i in members]
        elif rule == "hard":
            chosen = [x[min(members, key=similarity.__getitem__)]]
        elif rule == "camera":
            chosen = [x[group[0]] for group in groups]
        elif rule == "hard_camera":
            chosen = [x[min(group, key=similarity.__getitem__)] for group in groups]
        elif rule == "tccl":
            chosen = [min(means, key=lambda mean: float(mean @ bank[label]))]
        else:
            values = {i: discrepancy(i, mean) for group, mean in zip(groups, means) for i in group}
            chosen = [x[max(values, key=values.__getitem__)]]
        for sample in chosen:
            after[label] = ema(after[label], sample)
    return after


@pytest.mark.parametrize("rule", ["all", "hard", "camera", "hard_camera", "tccl", "chd"])
def test_rules_equal_their_definition(rule: str) -> None:
    @given(seeds, sizes)
    def check(seed: int, size: int) -> None:
        batch = random_batch(seed, size, clusters=5, dim=6)
        memory = ClusterMemory(6, update=rule, momentum=MOMENTUM)
        memory.bank = batch["bank"].clone()
        memory.update(batch["x"], batch["y"], camids=batch["camids"])
        expected = slow_update(rule, batch["bank"], batch["x"], batch["y"], batch["camids"])
        torch.testing.assert_close(memory.bank.double(), expected, rtol=0, atol=2e-6)

    check()


def test_published_names_are_aliases() -> None:
    pairs = {
        "all": ("ori", "CM", "cm"),
        "hard": ("cm_hard", "CMhard"),
        "camera": ("cm_camera",),
        "hard_camera": ("cm_hard_camera",),
        "tccl": ("tccl_camera",),
        "chd": ("hd_camera",),
    }
    assert set(UPDATE_RULES) == set(pairs)
    for name, aliases in pairs.items():
        assert all(UPDATE_RULES.get(alias) is UPDATE_RULES.get(name) for alias in aliases)
    with pytest.raises(UserError, match="no memory update rule named 'v5'"):
        ClusterMemory(4, update="v5")


def test_only_camera_rules_need_cameras() -> None:
    needs = {name: ClusterMemory(4, update=name).needs for name in UPDATE_RULES}
    assert {name for name, fields in needs.items() if fields == ("camids",)} == {
        "camera",
        "hard_camera",
        "tccl",
        "chd",
    }


def test_loss_is_cross_entropy_of_scaled_cosines() -> None:
    memory = ClusterMemory(3, temp=0.1)
    memory.reset(torch.eye(3), clustering_of(torch.arange(3)))
    x = torch.tensor([[3.0, 4.0, 0.0]])
    expected = -math.log(math.exp(6) / (math.exp(6) + math.exp(8) + 1))
    assert memory(x, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-6)


def test_smoothing_takes_the_given_value() -> None:
    batch = random_batch(0, 8, clusters=5, dim=6)
    memory = ClusterMemory(6, smooth=0.25)
    memory.bank = batch["bank"]
    logs = F.log_softmax(batch["x"] @ batch["bank"].t() / 0.05, dim=1)
    goal = 0.75 * F.one_hot(batch["y"], 5) + 0.25 / 5
    torch.testing.assert_close(memory(batch["x"], batch["y"]), -(goal * logs).sum(1).mean())


def test_rows_start_as_normalised_means_of_the_members() -> None:
    x, labels = unit(20, 5) * 3, torch.randint(-1, 3, (20,))
    memory = ClusterMemory(5)
    memory.reset(x, clustering_of(labels))
    for cluster in range(3):
        members = F.normalize(x[labels == cluster], dim=1)
        torch.testing.assert_close(memory.bank[cluster], F.normalize(members.mean(0), dim=0), atol=1e-6, rtol=0)


def test_given_centroids_win_over_means() -> None:
    memory = ClusterMemory(5)
    centroids = torch.randn(2, 5)
    memory.reset(unit(4, 5), Clustering(torch.tensor([0, 1, 0, 1]), 2, centroids=centroids))
    torch.testing.assert_close(memory.bank, F.normalize(centroids, dim=1))


def test_order_inside_a_class_matters_for_all_but_not_for_hard() -> None:
    batch = random_batch(3, 12, clusters=2, dim=6)
    results = {}
    for rule in ("all", "hard"):
        for step in (1, -1):
            memory = ClusterMemory(6, update=rule, momentum=MOMENTUM)
            memory.bank = batch["bank"].clone()
            memory.update(
                batch["x"][range(0, 12) if step > 0 else range(11, -1, -1)],
                batch["y"][::1] if step > 0 else batch["y"].flip(0),
            )
            results[rule, step] = memory.bank
    assert not torch.allclose(results["all", 1], results["all", -1], atol=1e-3)
    torch.testing.assert_close(results["hard", 1], results["hard", -1])


def test_ties_go_to_the_first_sample() -> None:
    memory = ClusterMemory(2, update="hard", momentum=0.0)
    memory.bank = torch.tensor([[1.0, 0.0]])
    up, down = [0.6, 0.8], [0.6, -0.8]
    memory.update(torch.tensor([up, down]), torch.tensor([0, 0]))
    torch.testing.assert_close(memory.bank, torch.tensor([up]))


def test_updating_before_backward_is_refused_by_autograd() -> None:
    memory = ClusterMemory(4)
    memory.reset(unit(6, 4), clustering_of(torch.arange(6) % 2))
    x = unit(4, 4).requires_grad_()
    loss = memory(x, torch.tensor([0, 0, 1, 1]))
    memory.update(x, torch.tensor([0, 0, 1, 1]))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_builds_from_the_config() -> None:
    cfg = get_cfg()
    cfg.MEMORY.UPDATE, cfg.MEMORY.TEMP, cfg.MEMORY.MOMENTUM, cfg.MEMORY.SMOOTH = "hard", 0.07, 0.2, 0.1
    memory = build_memory(cfg, 8)
    assert isinstance(memory, ClusterMemory) and memory.rule is UPDATE_RULES.get("hard")
    assert (memory.dim, memory.temp, memory.momentum, memory.smooth) == (8, 0.07, 0.2, 0.1)
    cfg.MEMORY.NAME = "ClusterMemry"
    with pytest.raises(UserError, match="Did you mean 'ClusterMemory'"):
        build_memory(cfg, 8)


def test_a_rule_of_cameras_without_cameras_is_refused() -> None:
    with pytest.raises(ValueError, match="this update rule needs camids"):
        camera_groups(torch.ones(2, 3, dtype=torch.bool), None)
