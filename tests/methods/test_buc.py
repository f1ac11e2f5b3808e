from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.engine.conftest import CONFIGS
from tests.methods.toys import DIM, at_step, toy_batch, toy_method, toy_trainer
from unreid.config import load_config
from unreid.data.datasets.base import ReIDDataset
from unreid.data.datasets.train_view import train_view
from unreid.engine.hooks import Hook
from unreid.methods import Method, build_method
from unreid.structures import Clustering, RoundPlan, StepOutput, Tracklet

N = 40


def buc(*overrides: Any, samples: int = N) -> Method:
    """Five rounds unless told otherwise: 40, 34, 28, 22, 16 classes."""
    short = ("METHOD.BUC.MERGE_PERCENT", 0.16, "METHOD.BUC.EPOCHS_FIRST", 3, "METHOD.BUC.EPOCHS_LATER", 2)
    common = ("METHOD.NAME", "BUC", "MEMORY.NAME", "ExclusiveTable", "DATALOADER.SAMPLER.NAME", "shuffle")
    camids = torch.zeros(samples, dtype=torch.int64)
    return toy_method(*common, *short, "METHOD.BUC.LR_STEP", 2, *overrides, camids=camids)


def unit_rows(count: int, seed: int, dim: int = DIM) -> Tensor:
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


class Record(Hook):
    """What every round starts with and every step is done with."""

    def __init__(self) -> None:
        self.plans: list[RoundPlan] = []
        self.tables: list[Tensor] = []
        self.optimizers: list[int] = []
        self.first_losses: list[float] = []
        self.rates: list[list[float]] = []

    def after_label(self, clustering: Clustering, plan: RoundPlan) -> None:
        self.plans.append(plan)
        self.tables.append(self.trainer.method.table.bank.clone())
        self.optimizers.append(id(self.trainer.optimizer))
        self.kept = [*getattr(self, "kept", []), self.trainer.optimizer]  # so that no id is used twice
        self.fresh = True

    def before_epoch(self) -> None:
        self.rates.append([])

    def after_step(self, output: StepOutput) -> None:
        self.rates[-1].append(self.trainer.optimizer.param_groups[0]["lr"])
        if self.fresh:
            self.first_losses.append(float(output.losses["exclusive"].detach()))
            self.fresh = False


@pytest.fixture(scope="module")
def trained() -> Record:
    """A run of five rounds on random images."""
    record = Record()
    images = torch.randn(N, 3, 2, 2, generator=torch.Generator().manual_seed(8))
    toy_trainer(buc(), images, hooks=[record]).train()
    return record


def test_every_round_starts_with_a_zero_row_for_each_of_its_classes(trained: Record) -> None:
    sizes = [int(plan.targets.max()) + 1 for plan in trained.plans]
    assert sizes == [40, 34, 28, 22, 16]
    assert [len(table) for table in trained.tables] == sizes
    assert all(not table.any() for table in trained.tables)
    expected = torch.log(torch.tensor(sizes, dtype=torch.float32))  # all logits are 0
    torch.testing.assert_close(torch.tensor(trained.first_losses), expected)


def test_rounds_epochs_rates_and_optimisers_follow_the_published_schedule(trained: Record) -> None:
    assert [plan.epochs for plan in trained.plans] == [3, 2, 2, 2, 2]
    assert {plan.sampler for plan in trained.plans} == {"shuffle"}
    assert len(set(trained.optimizers)) == 5, "a new optimiser every round"
    assert [len(rates) for rates in trained.rates] == [3] * 11  # one pass: 40 images in batches of 12, the rest dropped
    per_epoch = [rates[0] for rates in trained.rates]
    assert per_epoch == pytest.approx([0.1, 0.1, 0.01] + [0.01] * 8)


@pytest.mark.parametrize(("file", "later"), [("BUC_market.yml", 2), ("BUC_mars.yml", 5)])
def test_the_shipped_configs_hold_the_numbers_of_the_paper(file: str, later: int) -> None:
    cfg = load_config(CONFIGS / file)
    method = build_method(cfg, model=buc().model, camids=[0] * 12936)
    assert (method.merger.merges, method.merger.rounds) == (646, 19)
    assert (method.epochs_first, method.epochs_later) == (20, later)
    assert method.epochs == 20 + 18 * later
    assert (method.lr_first, method.lr_later, method.lr_step) == (0.1, 0.01, 16)
    assert (cfg.DATALOADER.TRAIN_BATCH_SIZE, cfg.MODEL.DROPOUT, cfg.OPTIM.BACKBONE_LR_MULT) == (16, 0.5, 0.1)
    assert cfg.TEST.SELECT == "round:16"


def test_a_warm_up_adds_its_epochs_to_the_run() -> None:
    assert buc("WARMUP.EPOCHS", 6).epochs == 6 + buc().epochs == 6 + 3 + 4 * 2


def test_nothing_is_extracted_before_the_first_round_and_the_normalised_pooled_feature_later() -> None:
    method, asked = buc(), []

    def extract(feature: str) -> Tensor:
        asked.append(feature)
        return unit_rows(N, 3)

    for round in range(3):
        method.plan(method.label(round, extract), round)
    assert asked == ["pooled_l2"] * 2
    assert method.retrieval_feature == "pooled_l2"


def test_samples_that_cannot_be_read_are_left_out_of_a_round() -> None:
    method = buc()
    clustering = method.label(0, lambda feature: unit_rows(N, 3)).without(torch.tensor([3, 7]))
    plan = method.plan(clustering, 0)
    assert plan.targets[[3, 7]].tolist() == [-1, -1] and len(method.table.bank) == N - 2


def test_a_table_of_cluster_means_uses_the_new_labels() -> None:
    """The first version of the code filled the table with means under the labels before the merge: a leak."""
    method = buc("METHOD.BUC.MEMORY_INIT", "cluster_mean")
    for round in range(3):
        clustering = method.label(round, lambda feature: unit_rows(N, 5 if feature == "embedding" else 6))
        method.plan(clustering, round)
        rows = unit_rows(N, 5)
        means = torch.stack([rows[clustering.labels == c].mean(0) for c in range(clustering.num_clusters)])
        torch.testing.assert_close(method.table.bank, F.normalize(means, dim=1))


def test_a_step_is_the_exclusive_loss_and_averages_into_the_table_in_batch_order() -> None:
    method = buc("METHOD.BUC.TEMP", 0.2)
    method.plan(method.label(0, lambda feature: unit_rows(N, 3)), 0)
    labels = torch.arange(N)
    table = torch.zeros(N, DIM)
    for step in range(3):
        batch = toy_batch(torch.tensor([3, 7, 3, 11]), labels, method.camids, seed=step)
        u = method.model(batch.views[0]).embedding
        output = method.step(batch, at_step(step))
        expected = F.cross_entropy(u @ table.t() / 0.2, batch.targets)
        torch.testing.assert_close(output.losses["exclusive"], expected)
        method.after_step(output.cache, at_step(step))
        for row, target in zip(u.detach(), batch.targets.tolist()):
            table[target] = F.normalize((table[target] + row) / 2, dim=0)
        torch.testing.assert_close(method.table.bank, table)


def test_the_state_holds_partition_and_table() -> None:
    method, other = buc(), buc()
    for round in range(2):
        method.plan(method.label(round, lambda feature: unit_rows(N, 3)), round)
    method.table.bank.normal_()
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.table.bank, method.table.bank)
    again = [each.label(2, lambda feature: unit_rows(N, 4)).labels for each in (method, other)]
    assert torch.equal(*again)


# ------------------------------------------------------------------------------------------- order must not leak


def merged_labels(method: Method, features: Tensor, rounds: int = 4) -> Tensor:
    labels = torch.empty(0)
    for round in range(rounds):
        labels = method.label(round, lambda feature: features).labels
    return labels


def pairs(labels: Tensor) -> Tensor:
    """bool (N, N): which samples share a cluster."""
    return labels.unsqueeze(1) == labels


def test_another_order_of_the_list_gives_the_same_partition() -> None:
    features = unit_rows(N, 9)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(2))
    straight, shuffled = merged_labels(buc(), features), merged_labels(buc(), features[order])
    assert torch.equal(pairs(straight)[order][:, order], pairs(shuffled))


class Ordered(ReIDDataset):
    """A list in the order of a re-ID set's file names: identity after identity."""

    name = "Ordered"
    ids, each = 12, 8

    def _locate(self) -> Path:
        return Path("/")

    def _parse(self, split: str) -> tuple[list[Tracklet], list[int]]:
        pids = [pid for pid in range(self.ids) for _ in range(self.each)]
        return [Tracklet((f"/{split}/{pid:04d}_{i:04d}.jpg",), i % 3, i) for i, pid in enumerate(pids)], pids


def share_of_true_pairs(permuted: bool, constant: bool, seeds: int = 30) -> tuple[float, int]:
    """How many of the pairs that two merges united share an identity, with features that know nothing of it."""
    dataset = Ordered("/")
    samples = len(dataset.train)
    same = total = 0
    for seed in range(seeds):
        pids = train_view([dataset], seed).truth.pids if permuted else dataset.train.truth.pids
        features = torch.ones(samples, DIM) / DIM**0.5 if constant else unit_rows(samples, seed)
        method = buc("METHOD.BUC.SIZE_PENALTY", 0.0 if constant else 0.003, samples=samples)
        together = pairs(merged_labels(method, features, rounds=3)).triu(1)
        same += int((together & pairs(torch.from_numpy(pids))).sum())
        total += int(together.sum())
    return same / total, total


@pytest.mark.parametrize("constant", [False, True], ids=["random features", "all tied"])
def test_identities_do_not_leak_through_the_order_of_the_files(constant: bool) -> None:
    chance = (Ordered.each - 1) / (Ordered.ids * Ordered.each - 1)
    share, total = share_of_true_pairs(permuted=True, constant=constant)
    # Pairs of one cluster depend on each other, hence more than the deviation of independent ones.
    assert abs(share - chance) < max(6 * (chance * (1 - chance) / total) ** 0.5, 0.02)


def test_an_order_of_files_that_is_kept_would_leak_through_ties() -> None:
    """The control of the test above: it does find a leak where there is one."""
    assert share_of_true_pairs(permuted=False, constant=True, seeds=1)[0] > 0.2
