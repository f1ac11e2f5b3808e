"""CDSM's diversity memory against the definitions of its modes, sample by sample."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from unreid.config import get_cfg
from unreid.memory import DIVERSITY_MODES, DiversityMemory, build_memory
from unreid.memory.diversity.selection import select_diverse
from unreid.memory.diversity.terms import hard_then_mean
from unreid.structures import Clustering
from unreid.utils.errors import UserError

from .batches import clustering_of, random_batch, seeds, sizes, unit

MOMENTUM, CLUSTERS, DIM = 0.3, 4, 6
slot_counts = st.integers(1, 5)


def ema(row: Tensor, x: Tensor) -> Tensor:
    return F.normalize(MOMENTUM * row + (1 - MOMENTUM) * x, dim=0)


def slow_selection(x: Tensor, slots: int, reliable: list[bool] | None, lone: bool) -> tuple[list[int], int]:
    """Positions of the chosen samples in batch order, and of the most central one."""
    count = len(x)
    distance = [[0.0 if i == j else float((x[i] - x[j]).norm()) for j in range(count)] for i in range(count)]
    mean = [sum(row) / count for row in distance]
    order = sorted(range(count), key=lambda i: (-mean[i], i))
    chosen = order[:1]
    for i in order[1:]:
        if len(chosen) == slots:
            break
        if all(distance[i][j] >= mean[j] for j in chosen) and (reliable is None or reliable[i]):
            chosen.append(i)
    if count == 1 and not lone:
        chosen = []
    return sorted(chosen), min(range(count), key=lambda i: (mean[i], i))


def slow_update(mode: str, bank: Tensor, x: Tensor, y: Tensor, slots: int, reliable: list[bool]) -> Tensor:
    """The rules of every mode on a (blocks, C, D) bank, in float64."""
    old, x = bank.double(), x.double()
    bank = old.clone()
    for label in sorted(set(y.tolist())):
        members = [i for i in range(len(y)) if y[i] == label]
        mean = x[members].mean(0)
        hardest = x[min(members, key=lambda i: float(x[i] @ old[0, label]))]
        if mode == "cm":
            for i in members:
                bank[0, label] = ema(bank[0, label], x[i])
        elif mode in ("cm_hard", "cm_hybrid"):
            bank[0, label] = ema(bank[0, label], hardest)
            if mode == "cm_hybrid":
                bank[1, label] = ema(bank[1, label], mean)
        elif mode == "v2":
            bank[0, label] = ema(bank[0, label], mean)
            for slot, i in enumerate(members[:slots]):
                bank[1 + slot, label] = x[i]
        elif mode == "v3":
            for slot, i in enumerate(members[:slots]):
                bank[slot, label] = ema(bank[slot, label], x[i])
        else:
            gate = [reliable[i] for i in members] if mode == "v5" else None
            chosen, centre = slow_selection(x[members], slots, gate, lone=mode == "v5")
            bank[0, label] = MOMENTUM * bank[0, label] + (1 - MOMENTUM) * x[members[centre]]
            for slot, i in enumerate(chosen):
                bank[1 + slot, label] = MOMENTUM * bank[1 + slot, label] + (1 - MOMENTUM) * x[members[i]]
    return bank


@pytest.mark.parametrize("mode", ["cm", "cm_hard", "cm_hybrid", "v2", "v3", "v4", "v5"])
def test_updates_equal_their_definition(mode: str) -> None:
    @given(seeds, sizes, slot_counts)
    def check(seed: int, size: int, slots: int) -> None:
        batch = random_batch(seed, size, CLUSTERS, DIM)
        memory = DiversityMemory(DIM, mode=mode, slots=slots, momentum=MOMENTUM)
        bank = unit(memory.blocks, CLUSTERS, DIM, generator=torch.Generator().manual_seed(seed))
        memory.bank = bank.flatten(0, 1).clone()
        reliable = batch["camids"] > 0
        memory.update(batch["x"], batch["y"], reliable=reliable)
        expected = slow_update(mode, bank, batch["x"], batch["y"], slots, reliable.tolist())
        torch.testing.assert_close(memory.bank.double(), expected.flatten(0, 1), rtol=0, atol=2e-6)

    check()


def slow_loss(mode: str, memory: DiversityMemory, x: Tensor, y: Tensor) -> float:
    """The loss of one mode, sample by sample."""
    bank = memory.bank.view(memory.blocks, CLUSTERS, DIM).double()
    w, sums = memory.hard_weight, [0.0] * memory.blocks

    def ce(logits: list[float], label: int) -> float:
        return math.log(sum(math.exp(z - max(logits)) for z in logits)) + max(logits) - logits[label]

    for sample, label in zip(x.double(), y.tolist()):
        s = (bank @ sample / memory.temp).tolist()
        if mode in ("v2", "v4", "v5"):
            slots = [[block[c] for block in s[1:]] for c in range(CLUSTERS)]
            merged = [max(values) for values in slots]
            merged[label] = min(slots[label]) if mode == "v2" else sum(slots[label]) / len(slots[label])
            s = [s[0], merged]
        for k, block in enumerate(s):
            sums[k] += ce(block, label) / len(y)
    if mode == "cm_hybrid":
        return w * (sums[0] + (1 - w) * sums[1])
    if mode == "v2":
        return w * sums[0] + (1 - w) * sums[1]
    if mode in ("v4", "v5"):
        return (1 - w) * sums[0] + w * sums[1]
    return sum(sums)


@pytest.mark.parametrize("mode", ["cm", "cm_hard", "cm_hybrid", "v2", "v3", "v4", "v5"])
def test_losses_equal_their_definition(mode: str) -> None:
    memory = DiversityMemory(DIM, mode=mode, slots=3, hard_weight=0.3, temp=0.2)
    memory.bank = unit(memory.blocks * CLUSTERS, DIM)
    batch = random_batch(1, 9, CLUSTERS, DIM)
    loss = memory(batch["x"], batch["y"])
    assert loss.item() == pytest.approx(slow_loss(mode, memory, batch["x"], batch["y"]), rel=1e-5)


def test_the_mix_of_the_hybrid_is_the_published_one() -> None:
    values = [torch.tensor(3.0), torch.tensor(8.0)]
    assert float(hard_then_mean(values, 0.25)) == pytest.approx(0.25 * (3.0 + 0.75 * 8.0))


@pytest.mark.parametrize("mode", ["v4", "v5"])
def test_rows_leave_the_sphere_as_published(mode: str) -> None:
    batch = random_batch(2, 12, CLUSTERS, DIM)
    memory = DiversityMemory(DIM, mode=mode, momentum=MOMENTUM)
    memory.bank = unit(memory.blocks * CLUSTERS, DIM)
    memory.update(batch["x"], batch["y"])
    assert memory.bank.norm(dim=1).min() < 0.95


@pytest.mark.parametrize(("mode", "written"), [("v4", 0), ("v5", 1)])
@pytest.mark.parametrize("count", [1, 3])
def test_one_sample_or_identical_ones_write_at_most_one_slot(mode: str, written: int, count: int) -> None:
    memory = DiversityMemory(DIM, mode=mode, slots=3)
    memory.bank = unit(4 * CLUSTERS, DIM)
    before = memory.bank.view(4, CLUSTERS, DIM).clone()
    memory.update(unit(1, DIM).expand(count, -1), torch.full((count,), 2))
    changed = (memory.bank.view(4, CLUSTERS, DIM) != before).any(2)
    assert changed[0].tolist() == [False, False, True, False]
    assert int(changed[1:].sum()) == written and bool(changed[1, 2]) == bool(written)


def test_two_samples_tie_and_the_earlier_becomes_the_centre() -> None:
    for seed in range(20):
        x = unit(1, 2, 64, generator=torch.Generator().manual_seed(seed))
        selection = select_diverse(x, torch.ones(1, 2, dtype=torch.bool), 4)
        assert selection.centre.tolist() == [0] and selection.chosen.all()


def test_unreliable_samples_enter_no_slot_but_the_first_is_never_tested() -> None:
    x = unit(1, 6, DIM)
    valid = torch.ones(1, 6, dtype=torch.bool)
    selection = select_diverse(x, valid, 4, reliable=torch.zeros(1, 6, dtype=torch.bool))
    assert int(selection.chosen.sum()) == 1
    assert torch.equal(selection.chosen, select_diverse(x, valid, 1).chosen)


@given(seeds, st.integers(1, 4))
def test_first_content_is_made_of_consecutive_chunks_of_core_images(seed: int, slots: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = unit(30, DIM, generator=generator)
    labels = torch.cat((torch.arange(3), torch.randint(-1, 3, (27,), generator=generator)))
    core = torch.rand(30, generator=generator) < 0.5
    memory = DiversityMemory(DIM, mode="v4", slots=slots)
    memory.reset(x, clustering_of(labels, core=core))
    bank = memory.bank.view(slots + 1, 3, DIM)
    for cluster in range(3):
        members = [i for i in range(30) if labels[i] == cluster and core[i]]
        members = members or [i for i in range(30) if labels[i] == cluster]
        torch.testing.assert_close(bank[0, cluster], F.normalize(x[members].mean(0), dim=0), rtol=0, atol=1e-5)
        q = -(-len(members) // slots)
        for k in range(slots):
            chunk = members[k * q : (k + 1) * q] or members
            torch.testing.assert_close(bank[1 + k, cluster], F.normalize(x[chunk].mean(0), dim=0), rtol=0, atol=1e-5)


def test_random_slots_are_members_and_a_function_of_the_seed() -> None:
    x, labels = unit(30, DIM), torch.arange(30) % 3
    labels[:4] = -1
    banks = []
    for seed in (1, 1, 2):
        memory = DiversityMemory(DIM, mode="v2", slots=5, seed=seed)
        memory.reset(x, clustering_of(labels))
        banks.append(memory.bank)
        for slot in memory.bank.view(6, 3, DIM)[1:]:
            for cluster, row in enumerate(slot):
                assert (x[labels == cluster] - row).abs().amax(1).min() < 1e-6
    assert torch.equal(banks[0], banks[1]) and not torch.equal(banks[0], banks[2])
    memory.reset(x, clustering_of(labels))
    assert not torch.equal(memory.bank, banks[2])


def test_centroids_are_used_where_no_core_images_are_known() -> None:
    centroids, x = unit(2, DIM), unit(6, DIM)
    labels, core = torch.arange(6) % 2, torch.ones(6, dtype=torch.bool)
    memory = DiversityMemory(DIM, mode="v5")
    memory.reset(x, Clustering(labels, 2, centroids=centroids))
    torch.testing.assert_close(memory.rows, centroids)
    memory.reset(x, Clustering(labels, 2, centroids=centroids, core=core))
    torch.testing.assert_close(memory.rows[0], F.normalize(x[::2].mean(0), dim=0))


def test_names_of_the_published_code() -> None:
    for published, mode in {
        "CM": "cm",
        "CMhard": "cm_hard",
        "CMhybrid": "cm_hybrid",
        "CMhybrid_v2": "v2",
        "CMhybrid_v3": "v3",
        "CMhybrid_v4": "v4",
        "CMhybrid_v5": "v5",
        "CMhybird_v5": "v5",
    }.items():
        assert DIVERSITY_MODES.get(published) is DIVERSITY_MODES.get(mode)
    with pytest.raises(UserError, match="no diversity memory mode named 'v6'"):
        DiversityMemory(DIM, mode="v6")


def test_builds_from_the_config() -> None:
    cfg = get_cfg()
    cfg.MEMORY.NAME, cfg.MEMORY.UPDATE, cfg.MEMORY.SLOTS = "DiversityMemory", "CMhybird_v5", 3
    memory = build_memory(cfg, DIM)
    assert isinstance(memory, DiversityMemory) and memory.blocks == 4 and memory.needs == ("reliable",)
    cfg.MEMORY.RELIABILITY = "off"
    assert build_memory(cfg, DIM).needs == ()
    cfg.MEMORY.NEGATIVES = 5
    with pytest.raises(UserError, match="does not work with DiversityMemory"):
        build_memory(cfg, DIM)
    with pytest.raises(ValueError, match="slots"):
        DiversityMemory(DIM, slots=0)
