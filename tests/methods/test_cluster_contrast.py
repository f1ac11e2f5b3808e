from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.methods.toys import at_step, toy_batch, toy_clustering, toy_method, train_step

LABELS = torch.tensor([0, 0, 0, -1, 1, 1, 1, 2, 2, 2])
CAMIDS = torch.tensor([0, 1, 2, 0, 0, 1, 1, 2, 0, 1])
BATCH = torch.tensor([4, 6, 5, 9, 7, 8, 0, 2])


def test_a_step_is_cross_entropy_against_the_rows_as_they_were_and_then_moves_them_in_batch_order() -> None:
    method = toy_method("MEMORY.MOMENTUM", 0.3, camids=CAMIDS)
    plan = method.plan(toy_clustering(LABELS), 0)
    assert torch.equal(plan.targets, LABELS) and plan.epochs == 1 and plan.iters == 200
    bank = method.memory.bank.clone()
    batch = toy_batch(BATCH, LABELS, CAMIDS)

    output = method.step(batch, at_step(0))
    features = output.cache.features
    logits = features @ bank.t() / 0.05
    assert output.losses.keys() == {"memory"}
    torch.testing.assert_close(output.losses["memory"], F.cross_entropy(logits, batch.targets))
    assert torch.equal(method.memory.bank, bank), "a step alone must not touch the memory"

    method.after_step(output.cache, at_step(0))
    for row, target in zip(features, batch.targets.tolist()):
        bank[target] = F.normalize(0.3 * bank[target] + 0.7 * row, dim=0)
    torch.testing.assert_close(method.memory.bank, bank)


def test_gradient_reaches_the_encoder_and_not_the_memory() -> None:
    method = toy_method(camids=CAMIDS)
    method.plan(toy_clustering(LABELS), 0)
    output = method.step(toy_batch(BATCH, LABELS, CAMIDS), at_step(0))
    output.losses["memory"].backward()
    assert method.model.linear.weight.grad.abs().sum() > 0
    assert not method.memory.bank.requires_grad and not output.cache.features.requires_grad


def test_a_teacher_of_any_method_of_the_family_writes_the_memory() -> None:
    method = toy_method("MODEL.EMA.ENABLED", True, camids=CAMIDS)
    assert method.encoder is method.teacher.model
    method.plan(toy_clustering(LABELS), 0)
    with torch.no_grad():
        method.teacher.model.linear.weight.neg_()
    batch = toy_batch(BATCH, LABELS, CAMIDS)
    output = method.step(batch, at_step(0))
    torch.testing.assert_close(output.cache.features, -method.model(batch.views[0]).embedding)


@pytest.mark.parametrize(
    ("labels", "sampler", "bound"),
    [
        ([0, 0, 1, 1, 2, 2, 3, 3, -1], "multi_camera", 4),  # a pass fills a batch of 16: four images a cluster
        ([0, 0, 1, 1, 2, 2], "multi_camera", 8),  # a batch joins two passes
        ([0, 0, 1, 2, 3, 4], "multi_camera", 16),  # one cluster of several images: four passes
        ([0, 1, 2, 3], "multi_camera", None),  # no group at all: the engine shuffles
        ([0, 0, 1, 1, 2, 2, 3, 3], "shuffle", None),
        ([0, 0, 1, 1, 2, 2, 3, 3], "Shuffle", None),  # another spelling of the same name
    ],
)
def test_the_bound_of_a_batch_s_groups_follows_the_sampler(labels: list[int], sampler: str, bound: int | None) -> None:
    method = toy_method("DATALOADER.SAMPLER.NAME", sampler, camids=torch.zeros(len(labels), dtype=torch.int64))
    method.plan(toy_clustering(torch.tensor(labels)), 0)
    assert method.group_bound == bound


def test_no_bound_holds_where_images_may_take_the_places_of_unreadable_ones() -> None:
    method = toy_method("DATALOADER.SKIP_CORRUPT", True, camids=CAMIDS)
    method.plan(toy_clustering(LABELS), 0)
    assert method.group_bound is None


@pytest.mark.parametrize("name", ["ClusterContrast", "ISE"])
def test_half_precision_ends_with_the_network(name: str) -> None:
    """Losses and rows of the memory are the same, bit for bit, when only they are under autocast."""
    results = []
    for dtype in (None, torch.bfloat16):
        extras = ("METHOD.EXTRAS", "['camera_entropy']", "METHOD.LOSSES", "['triplet']")
        method = toy_method("METHOD.NAME", name, *extras, camids=CAMIDS)
        method.plan(toy_clustering(LABELS), 0)
        batch = toy_batch(BATCH, LABELS, CAMIDS)
        output = method.model(batch.views[0])
        method.student = lambda *images, output=output: output
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            found = method.step(batch, at_step(17))
        results.append([*found.losses.values(), found.cache.features])
    assert all(one.dtype == torch.float32 and torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_dynamic_iterations_and_a_new_optimiser_are_config_switches() -> None:
    overrides = ("DATALOADER.ITERS_CLUSTER_MULTIPLIER", 2.5, "OPTIM.RESET_EVERY_ROUND", True)
    plan = toy_method(*overrides, camids=CAMIDS).plan(toy_clustering(LABELS), 0)
    assert (plan.iters, plan.optimizer) == (8, "rebuild")  # round(2.5 * 3 clusters), half to even


def test_training_fits_a_batch() -> None:
    method = toy_method("MEMORY.MOMENTUM", 0.9, camids=CAMIDS)
    method.plan(toy_clustering(LABELS), 0)
    optimizer = torch.optim.Adam(method.model.parameters(), 0.05)
    batch = toy_batch(BATCH, LABELS, CAMIDS)
    losses = [float(train_step(method, optimizer, batch, at_step(s)).losses["memory"].detach()) for s in range(40)]
    assert losses[-1] < 0.2 * losses[0], losses
