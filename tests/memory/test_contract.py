"""What all memories promise, checked for every memory with every rule or mode."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from unreid.memory import (
    DIVERSITY_MODES,
    MEMORIES,
    UPDATE_RULES,
    ClusterMemory,
    DiversityMemory,
    ExclusiveTable,
    HybridMemory,
    Memory,
    ProxyMemory,
    grouping,
    hybrid_memory,
    update_rules,
)
from unreid.memory.diversity import memory as diversity_memory

from .batches import clustering_of, unit

DIM, SAMPLES, CLUSTERS = 16, 40, 6

FACTORIES: dict[str, Callable[[], Memory]] = {
    **{f"cluster-{rule}": partial(ClusterMemory, DIM, update=rule) for rule in UPDATE_RULES},
    **{f"diversity-{mode}": partial(DiversityMemory, DIM, mode=mode, slots=3) for mode in DIVERSITY_MODES},
    "hybrid": partial(HybridMemory, DIM),
    "exclusive": partial(ExclusiveTable, DIM, init="cluster_mean"),
    "proxy": partial(ProxyMemory, DIM, intra=True),
    "sampled": partial(ClusterMemory, DIM, negatives=3),
}


@pytest.fixture(params=FACTORIES)
def memory(request: pytest.FixtureRequest) -> Memory:
    memory = FACTORIES[request.param]()
    memory.reset(unit(SAMPLES, DIM), clustering_of(LABELS), camids=torch.arange(SAMPLES) % 3)
    return memory


LABELS = torch.arange(SAMPLES) % CLUSTERS


def batch(size: int = 18, seed: int = 0) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    indices = torch.randperm(SAMPLES, generator=generator)[:size]
    fields = {
        "indices": indices,
        "camids": torch.randint(3, (size,), generator=generator),
        "reliable": torch.rand(size, generator=generator) < 0.7,
    }
    return unit(size, DIM, generator=generator), LABELS[indices], fields


def state(memory: Memory) -> dict[str, Tensor]:
    return copy.deepcopy(dict(memory.named_buffers()))


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor], atol: float = 0.0) -> None:
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        torch.testing.assert_close(tensor, right[name], rtol=0, atol=atol)


def test_all_memories_are_covered() -> None:
    assert {type(make()) for make in FACTORIES.values()} == {MEMORIES.get(name) for name in MEMORIES}


def test_forward_and_backward_change_nothing_and_reach_the_inputs_only(memory: Memory) -> None:
    before = state(memory)
    inputs, targets, fields = batch()
    loss = memory(inputs.requires_grad_(), targets, **fields)
    loss.backward()
    assert loss.ndim == 0 and loss.dtype == torch.float32 and loss.isfinite()
    assert inputs.grad.isfinite().all() and inputs.grad.abs().max() > 0
    assert not any(True for _ in memory.parameters()) and not any(b.requires_grad for b in memory.buffers())
    assert_same(state(memory), before)


def test_gradient_agrees_with_finite_differences(memory: Memory) -> None:
    memory = memory.double()
    inputs, targets, fields = batch(size=5)
    loss = partial(memory, targets=targets, weights=torch.rand(5).double() + 0.5, **fields)
    assert torch.autograd.gradcheck(loss, inputs.double().requires_grad_())


def test_float32_agrees_with_float64(memory: Memory) -> None:
    exact = copy.deepcopy(memory).double()
    inputs, targets, fields = batch()
    for _ in range(3):
        torch.testing.assert_close(
            memory(inputs, targets, **fields).double(), exact(inputs, targets, **fields), rtol=1e-5, atol=1e-6
        )
        memory.update(inputs, targets, **fields)
        exact.update(inputs, targets, **fields)
    torch.testing.assert_close(memory.bank.double(), exact.bank.double(), rtol=0, atol=2e-6)


def test_loss_is_float32_under_autocast(memory: Memory) -> None:
    inputs, targets, fields = batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = memory(inputs, targets, **fields)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, memory(inputs, targets, **fields))
    assert memory(inputs.bfloat16(), targets, **fields).dtype == torch.float32


def test_weights_scale_the_samples(memory: Memory) -> None:
    inputs, targets, fields = batch()
    loss = memory(inputs, targets, **fields)
    torch.testing.assert_close(memory(inputs, targets, weights=torch.full((18,), 3.0), **fields), 3 * loss)
    torch.testing.assert_close(memory(inputs, targets, weights=torch.ones(18), **fields), loss)
    if isinstance(memory, ProxyMemory):
        return  # a sample counts by the number of samples of its camera
    only = torch.zeros(18).index_fill(0, torch.tensor([4]), 18.0)
    alone = memory(inputs[4:5], targets[4:5], **{name: field[4:5] for name, field in fields.items()})
    torch.testing.assert_close(memory(inputs, targets, weights=only, **fields), alone)


def test_update_touches_only_the_classes_of_the_batch(memory: Memory) -> None:
    before, rows = state(memory), memory.rows.clone()
    inputs, targets, fields = batch(size=5)
    memory.update(inputs.requires_grad_(), targets, **fields)
    absent = torch.ones(CLUSTERS, dtype=torch.bool).index_fill(0, targets, False)
    assert absent.any() and torch.equal(memory.rows[absent], rows[absent])
    assert not torch.equal(memory.bank, before["bank"])
    assert not memory.bank.requires_grad and inputs.grad is None


def test_what_is_drawn_after_an_update_or_a_reset_is_drawn_anew(memory: Memory) -> None:
    """The counters seed the draws and are part of a checkpoint."""
    before = memory.get_extra_state()
    inputs, targets, fields = batch()
    memory.update(inputs, targets, **fields)
    memory.update(inputs, targets, **fields)
    after = memory.get_extra_state()
    assert (after["resets"], after["updates"]) == (before["resets"], before["updates"] + 2)
    memory.reset(unit(SAMPLES, DIM), clustering_of(LABELS), camids=torch.arange(SAMPLES) % 3)
    assert memory.get_extra_state()["resets"] == before["resets"] + 1


def test_update_does_not_depend_on_the_order_of_the_classes(memory: Memory) -> None:
    other = copy.deepcopy(memory)
    inputs, targets, fields = batch()
    memory.update(inputs, targets, **fields)
    # Whole classes change places; inside a class the samples keep their order.
    order = torch.argsort((targets + 2) % CLUSTERS, stable=True)
    other.update(inputs[order], targets[order], **{name: field[order] for name, field in fields.items()})
    assert_same(state(memory), state(other), atol=1e-7)


def test_static_shapes_give_the_same_bank(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    other = copy.deepcopy(memory)
    inputs, targets, fields = batch()
    memory.update(inputs, targets, **fields)
    for module in (update_rules, diversity_memory, hybrid_memory):
        monkeypatch.setattr(module, "group_by_class", partial(grouping.group_by_class, static=True))
    other.update(inputs, targets, num_instances=7, **fields)
    assert_same(state(memory), state(other), atol=1e-7)


def test_state_survives_a_round_with_another_number_of_clusters(memory: Memory, request: pytest.FixtureRequest) -> None:
    inputs, targets, fields = batch()
    memory.update(inputs, targets, **fields)
    restored = FACTORIES[request.node.callspec.params["memory"]]()
    restored.reset(unit(9, DIM), clustering_of(torch.arange(9) % 2), camids=torch.arange(9) % 3)
    restored.load_state_dict(copy.deepcopy(memory.state_dict()))
    assert restored.num_clusters == CLUSTERS
    assert_same(state(restored), state(memory))
    assert torch.equal(restored(inputs, targets, **fields), memory(inputs, targets, **fields))
    empty = FACTORIES[request.node.callspec.params["memory"]]()
    empty.load_state_dict(memory.state_dict())
    assert_same(state(empty), state(memory))


def test_reset_follows_the_clustering(memory: Memory) -> None:
    labels = torch.arange(SAMPLES) % 11
    memory.reset(unit(SAMPLES, DIM), clustering_of(labels), camids=torch.arange(SAMPLES) % 3)
    assert memory.num_clusters == 11 and memory.rows.shape == (11, DIM)
    assert memory.rows.norm(dim=1).sub(1).abs().max() < 1e-5


def test_wrong_shapes_are_errors(memory: Memory, request: pytest.FixtureRequest) -> None:
    inputs, targets, fields = batch()
    with pytest.raises(ValueError, match="inputs must be numbers of shape"):
        memory(inputs[:, 1:], targets, **fields)
    with pytest.raises(ValueError, match="targets must be integers of shape"):
        memory.update(inputs, targets[1:], **fields)
    with pytest.raises(ValueError, match="weights must be numbers of shape"):
        memory(inputs, targets, weights=torch.ones(3), **fields)
    with pytest.raises(ValueError, match="features must be numbers of shape"):
        memory.reset(unit(4, DIM + 1), clustering_of(torch.arange(4)))
    with pytest.raises(ValueError, match="3 features but 4 labels"):
        memory.reset(unit(3, DIM), clustering_of(torch.arange(4)))
    with pytest.raises(ValueError, match="without clusters"):
        memory.reset(unit(3, DIM), clustering_of(torch.tensor([-1, -1, -1])))
    with pytest.raises(ValueError, match="call reset"):
        FACTORIES[request.node.callspec.params["memory"]]()(inputs, targets, **fields)


def test_missing_fields_are_errors(memory: Memory) -> None:
    inputs, targets, _ = batch()
    for field in set(memory.needs) - {"reliable"}:
        with pytest.raises(ValueError, match=f"needs {field}"):
            memory.update(inputs, targets)


@pytest.mark.parametrize("stored", [torch.zeros(5, 7), torch.zeros(5, 8, 2), torch.zeros(5, 8).double()])
def test_a_bank_of_another_width_or_type_is_refused(stored: torch.Tensor) -> None:
    memory = ClusterMemory(8)
    with pytest.raises(ValueError, match="'bank' of the memory"):
        memory.load_state_dict({**memory.state_dict(), "bank": stored})
