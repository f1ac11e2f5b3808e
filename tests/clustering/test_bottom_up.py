"""BUC's merging against a slow version, and the guarantees about order and identity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.conftest import needs_cuda
from unreid.clustering import bottom_up_search
from unreid.clustering.bottom_up import BottomUpPartition, merge_clusters, merges_per_round, num_rounds
from unreid.config import get_cfg

from .test_hdc_parts import unit


def slow_merge(x: Tensor, labels: Tensor, num_merges: int, penalty: float, distance: str, linkage: str) -> Tensor:
    """Sorts every pair and relabels the whole list at every union."""
    x, labels = x.double(), labels.clone()
    sizes = torch.bincount(labels)
    if linkage == "centroid":
        x = torch.stack([x[labels == k].float().mean(0) for k in range(len(sizes))]).double()
    d = (x[:, None] - x[None]).square().sum(-1)
    d = d if distance == "sqeuclidean" else d.sqrt()
    owner = labels
    if linkage != "min":
        clusters = range(len(sizes))
        if linkage == "max":
            d = torch.stack([torch.stack([d[labels == a][:, labels == b].max() for b in clusters]) for a in clusters])
        owner = torch.arange(len(sizes))
    weight = (d + penalty * (sizes[owner][:, None] + sizes[owner])).float()
    i, j = torch.triu_indices(len(owner), len(owner), 1)
    order = np.lexsort((j.numpy(), i.numpy(), weight[i, j].numpy()))
    united, left = torch.arange(len(sizes)), min(num_merges, len(sizes) - 1)
    for pair in order:
        if left == 0:
            break
        a, b = united[owner[i[pair]]], united[owner[j[pair]]]
        if a != b:
            united[united == torch.maximum(a, b)] = torch.minimum(a, b)
            left -= 1
    return renumber(united[labels])


def renumber(labels: Tensor) -> Tensor:
    table: dict[int, int] = {}
    return torch.tensor([table.setdefault(label, len(table)) for label in labels.tolist()])


def same_partition(a: Tensor, b: Tensor) -> bool:
    return torch.equal(renumber(a), renumber(b))


@given(
    n=st.integers(2, 60),
    rounds=st.integers(1, 6),
    share=st.sampled_from([0.03, 0.1, 0.3]),
    penalty=st.sampled_from([0.0, 0.003, 0.2]),
    distance=st.sampled_from(["sqeuclidean", "euclidean"]),
    linkage=st.sampled_from(["min", "centroid", "max"]),
    block=st.sampled_from([1, 7, 1024]),
    pool_factor=st.sampled_from([1, 8]),
    seed=st.integers(0, 10**6),
)
def test_merging_equals_the_slow_version_over_many_rounds(
    n: int,
    rounds: int,
    share: float,
    penalty: float,
    distance: str,
    linkage: str,
    block: int,
    pool_factor: int,
    seed: int,
) -> None:
    merger = BottomUpPartition(
        n,
        merge_percent=share,
        size_penalty=penalty,
        distance=distance,
        linkage=linkage,
        block=block,
        pool_factor=pool_factor,
    )
    for step in range(rounds):
        features, before = unit(n, 6, seed + step), merger.labels
        expected = slow_merge(features, before, merger.merges, penalty, distance, linkage)
        assert torch.equal(merger.merge(features), expected)
        assert merger.num_clusters == max(1, len(before.unique()) - merger.merges)


@pytest.mark.parametrize("distance", ["sqeuclidean", "euclidean"])
@given(n=st.integers(2, 40), merges=st.integers(1, 20), seed=st.integers(0, 10**6), flood=st.sampled_from([4, 10**6]))
def test_ties_go_by_sample_index(distance: str, n: int, merges: int, seed: int, flood: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    grid = torch.randint(3, (n, 3), generator=generator).float()  # many duplicates, and exact equal distances
    labels = renumber(torch.randint(max(2, n // 2), (n,), generator=generator))
    usual, bottom_up_search._FLOOD = bottom_up_search._FLOOD, flood
    try:
        merged = merge_clusters(grid, labels, merges, distance=distance, block=9)
    finally:
        bottom_up_search._FLOOD = usual
    assert torch.equal(merged, slow_merge(grid, labels, merges, 0.003, distance, "min"))


def test_duplicates_of_unit_vectors_tie_exactly() -> None:
    x = unit(300, 64, 1)
    x[150:] = x[:150]  # 150 pairs at distance 0: those of lowest index are united first
    merged = merge_clusters(x, torch.arange(300), 40)
    assert torch.equal(merged[150:190], merged[:40])
    assert len(merged[:150].unique()) == 150


def test_a_merge_does_not_depend_on_the_order_of_the_samples() -> None:
    x, generator = unit(150, 16, 2), torch.Generator().manual_seed(3)
    for linkage in ("min", "centroid", "max"):
        merger, shuffled = (BottomUpPartition(150, merge_percent=0.1, linkage=linkage) for _ in range(2))
        order = torch.randperm(150, generator=generator)
        for _ in range(4):
            assert same_partition(merger.merge(x)[order], shuffled.merge(x[order]))


@pytest.mark.parametrize("constant", [False, True])
def test_identity_does_not_leak_through_the_order(constant: bool) -> None:
    # Identities in file order, as every dataset lists them; the train view permutes samples before the merger sees
    # them. Chance that two different samples share one of 30 identities of 6: 5 / 179.
    n, share, trials = 180, [], 40
    pids = torch.arange(n) // 6
    for seed in range(trials):
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(n, generator=generator)
        x = torch.ones(n, 8) / 8**0.5 if constant else unit(n, 8, 100 + seed)
        merger = BottomUpPartition(n, merge_percent=0.1)
        merger.merge(x[order])
        labels = merger.merge(x[order])
        together = (labels[:, None] == labels).triu(1)
        truth = pids[order]
        share.append(float((truth[:, None] == truth)[together].double().mean()))
    chance = 5 / 179
    spread = np.std(share) / trials**0.5
    assert abs(np.mean(share) - chance) < 4 * spread


def test_labels_count_clusters_by_their_first_sample() -> None:
    merged = merge_clusters(unit(50, 4, 5), torch.arange(50).flip(0), 30)
    assert torch.equal(merged, renumber(merged))
    assert merged.dtype == torch.int64 and merged.device.type == "cpu"


def test_sizes_are_frozen_and_chains_collapse() -> None:
    x = torch.tensor([[0.0], [1.0], [2.1], [10.0], [14.0]])
    assert merge_clusters(x, torch.arange(5), 2, size_penalty=100.0).tolist() == [0, 0, 0, 1, 2]
    # A size term above the gaps turns the next union away from the large cluster.
    labels = torch.tensor([0, 0, 0, 1, 2])
    assert merge_clusters(x, labels, 1, size_penalty=100.0).tolist() == [0, 0, 0, 1, 1]
    assert merge_clusters(x - torch.tensor([0, 0, 0, 6.0, 0])[:, None], labels, 1).tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("merges", [0, 1, 4, 100])
def test_at_least_one_cluster_is_left(merges: int) -> None:
    merged = merge_clusters(unit(5, 3, 6), torch.arange(5), merges)
    assert len(merged.unique()) == max(1, 5 - merges)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_features_that_are_not_finite_are_refused(value: float) -> None:
    x = unit(6, 3, 7)
    x[2, 1] = value
    with pytest.raises(ValueError, match="not finite"):
        merge_clusters(x, torch.arange(6), 1)


def test_wrong_arguments_are_refused() -> None:
    x = unit(4, 3, 8)
    for options in ({"distance": "cosine"}, {"linkage": "ward"}):
        with pytest.raises(ValueError, match="not in"):
            merge_clusters(x, torch.arange(4), 1, **options)
    with pytest.raises(ValueError, match="5 labels"):
        merge_clusters(x, torch.arange(5), 1)
    with pytest.raises(ValueError, match="merge_percent"):
        BottomUpPartition(4, merge_percent=1.0)


def test_counts_of_the_paper() -> None:
    assert merges_per_round(12936, 0.05) == 646
    assert merges_per_round(100, 0.29) == 29
    assert merges_per_round(10, 0.05) == 1
    assert num_rounds(0.05) == 19 and num_rounds(0.1) == 9 and num_rounds(0.9) == 1


def test_from_config_and_state() -> None:
    cfg = get_cfg()
    cfg.METHOD.BUC.MERGE_PERCENT = 0.1
    merger = BottomUpPartition.from_config(cfg, 33)
    assert (merger.merges, merger.rounds, merger.num_clusters) == (3, 9, 33)
    merger.merge(unit(33, 4, 9))
    resumed = BottomUpPartition.from_config(cfg, 33)
    resumed.load_state_dict(merger.state_dict())
    x = unit(33, 4, 10)
    assert torch.equal(merger.merge(x), resumed.merge(x))
    clustering = resumed.clustering()
    assert clustering.num_clusters == 27 and clustering.num_outliers == 0
    with pytest.raises(ValueError, match="33 samples, not of 5"):
        BottomUpPartition(5).load_state_dict(merger.state_dict())


@needs_cuda
@pytest.mark.parametrize("linkage", ["min", "centroid", "max"])
def test_cuda_merges_like_cpu(linkage: str) -> None:
    x = unit(500, 64, 12)
    on_cpu, on_cuda = (BottomUpPartition(500, merge_percent=0.1, linkage=linkage, block=100) for _ in range(2))
    for _ in range(3):
        assert torch.equal(on_cpu.merge(x), on_cuda.merge(x.cuda()))
