from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from tests.methods.toys import at_step, toy_batch, toy_clustering, toy_method, train_step
from unreid.methods import Method
from unreid.structures import Clustering
from unreid.utils.errors import UserError

LABELS = torch.tensor([-1, 0, 0, 0, 0, -1, 1, 1, 1, 1, -1, 2, 2, 2, 2])
CAMIDS = torch.arange(len(LABELS)) % 3
BATCH = torch.tensor([6, 9, 7, 8, 11, 13, 14, 12, 1, 4, 2, 3])
RELIABLE = torch.tensor([1, 0, 1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0], dtype=torch.bool)


def cdsm(*overrides: Any) -> Method:
    parts = ("MEMORY.NAME", "DiversityMemory", "MEMORY.UPDATE", "v5", "MEMORY.SLOTS", 3)
    return toy_method(
        *("METHOD.NAME", "CDSM", "MODEL.EMA.ENABLED", True, "CLUSTER.NAME", "AgreementDBSCAN"),
        *("MEMORY.MOMENTUM", 0.05, *parts, *overrides),
        camids=CAMIDS,
    )


def clustering() -> Clustering:
    return toy_clustering(LABELS, reliable=RELIABLE.clone())


def disturb(method: Method) -> None:
    """Moves the teacher away from the student, so that a test can tell them apart."""
    with torch.no_grad():
        method.teacher.model.linear.weight.add_(torch.randn(method.teacher.model.linear.weight.shape))


@pytest.mark.parametrize("update", ["cm", "cm_hard", "cm_hybrid", "v2", "v3", "v4", "v5"])
def test_the_loss_sees_the_student_and_the_memory_takes_the_teacher(update: str) -> None:
    method = cdsm("MEMORY.UPDATE", update)
    method.plan(clustering(), 0)
    disturb(method)
    batch = toy_batch(BATCH, LABELS, CAMIDS)
    student, teacher = copy.deepcopy(method.model), copy.deepcopy(method.teacher.model)
    memory = copy.deepcopy(method.memory)

    output = method.step(batch, at_step(0))
    rows = student(batch.views[0]).embedding
    torch.testing.assert_close(output.losses["memory"], memory(rows, batch.targets, reliable=RELIABLE[BATCH]))
    method.after_step(output.cache, at_step(0))
    with torch.no_grad():
        memory.update(teacher(batch.views[0]).embedding, batch.targets, reliable=RELIABLE[BATCH])
    torch.testing.assert_close(method.memory.bank, memory.bank)


def test_the_teacher_s_view_is_the_student_s_or_the_mild_one() -> None:
    assert cdsm().views == ("strong",)
    method = cdsm("METHOD.CDSM.TEACHER_VIEW", "base")
    assert method.views == ("strong", "base")
    method.plan(clustering(), 0)
    batch = toy_batch(BATCH, LABELS, CAMIDS, views=2)
    teacher = copy.deepcopy(method.teacher.model)
    output = method.step(batch, at_step(0))
    assert torch.equal(output.cache.features, teacher(batch.views[1]).embedding)
    assert not torch.equal(output.cache.features, teacher(batch.views[0]).embedding)


def test_reliabilities_are_read_at_positions_of_the_full_list() -> None:
    """The published code looks them up at positions among the clustered images; every outlier shifts those."""
    method = cdsm("MEMORY.MOMENTUM", 0.5)
    method.plan(clustering(), 0)
    output = method.step(toy_batch(BATCH, LABELS, CAMIDS), at_step(0))
    right, wrong = copy.deepcopy(method.memory), copy.deepcopy(method.memory)
    features, targets = output.cache.features, output.cache.targets
    right.update(features, targets, reliable=RELIABLE[BATCH])
    position = (LABELS >= 0).cumsum(0) - 1  # among the clustered images
    wrong.update(features, targets, reliable=RELIABLE[position[BATCH]])
    assert not torch.equal(right.bank, wrong.bank), "the two must differ for this test to mean anything"
    method.after_step(output.cache, at_step(0))
    assert torch.equal(method.memory.bank, right.bank)


def test_the_teacher_moves_after_the_optimiser_and_by_its_ramp() -> None:
    method = cdsm("MODEL.EMA.ALPHA", 0.6)
    method.plan(clustering(), 0)
    optimizer = torch.optim.SGD(method.model.parameters(), 0.5)
    expected = method.teacher.model.linear.weight.clone()
    for step in range(4):
        used = method.teacher.model.linear.weight.clone()
        batch = toy_batch(BATCH, LABELS, CAMIDS, seed=step)
        teacher = copy.deepcopy(method.teacher.model)
        output = train_step(method, optimizer, batch, at_step(step))
        assert torch.equal(output.cache.features, teacher(batch.views[0]).embedding)
        decay = min(1 - 1 / (step + 1), 0.6)
        expected = decay * used + (1 - decay) * method.model.linear.weight.detach()
        torch.testing.assert_close(method.teacher.model.linear.weight, expected)
        if step == 0:  # a copy of the student *after* its first step
            assert torch.equal(method.teacher.model.linear.weight, method.model.linear.weight)


def test_the_teacher_keeps_its_own_statistics_and_passes_no_gradient() -> None:
    method = cdsm()
    method.plan(clustering(), 0)
    disturb(method)
    output = method.step(toy_batch(BATCH, LABELS, CAMIDS), at_step(0))
    student, teacher = method.model.bottleneck, method.teacher.model.bottleneck
    assert int(teacher.num_batches_tracked) == 1
    assert not torch.equal(teacher.running_mean, student.running_mean)
    assert not output.cache.features.requires_grad
    assert all(p.grad is None and not p.requires_grad for p in method.teacher.parameters())


def test_the_teacher_labels_and_is_evaluated() -> None:
    method = cdsm()
    assert method.encoder is method.teacher.model


def test_without_a_teacher_it_says_what_to_set() -> None:
    with pytest.raises(UserError, match=r"MODEL\.EMA\.ENABLED"):
        cdsm("MODEL.EMA.ENABLED", False)
