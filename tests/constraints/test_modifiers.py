"""Relations and the distances they change: graph, dense matrix and blocks agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unreid.constraints import (
    OVERLAP_PENALTY,
    DenseRelation,
    Overlap,
    Penalty,
    Plausibility,
    SameCamera,
    SpatioTemporalFactor,
    TravelTable,
    mine_overlaps,
    modify_graph,
)
from unreid.evaluation.distance import DistanceBlocks
from unreid.structures import PairGraph

from .worlds import random_records

TRAVEL = TravelTable(np.random.default_rng(0).random((3, 3, 9), dtype=np.float32), bin=50, unknown=0.3)


def graph_of(dist: torch.Tensor, radius: float) -> PairGraph:
    i, j = torch.triu_indices(len(dist), len(dist), 1)
    kept = dist[i, j] <= radius
    return PairGraph(len(dist), i[kept], j[kept], dist[i, j][kept], radius, torch.zeros(len(dist)))


def symmetric(count: int, seed: int) -> torch.Tensor:
    dist = torch.rand(count, count, generator=torch.Generator().manual_seed(seed))
    return (dist + dist.T) / 2


def plausibility(records: object, i: int, j: int) -> float:
    """The definition, case by case."""
    r = records
    if r.tracks[i] == r.tracks[j]:  # type: ignore[attr-defined]
        return 1.0
    start, end = r.track_start, r.track_end  # type: ignore[attr-defined]
    if start[j] > end[i]:
        gap = int(start[j] - end[i])
    elif start[i] > end[j]:
        gap = -int(start[i] - end[j])
    else:
        return 0.0
    number = int(np.rint(gap / TRAVEL.bin))
    if abs(number) > TRAVEL.origin:
        return TRAVEL.unknown
    return float(TRAVEL.table[r.camids[i], r.camids[j], TRAVEL.origin + number])  # type: ignore[attr-defined]


@given(st.integers(0, 500), st.integers(2, 25))
def test_plausibility_is_the_definition(seed: int, count: int) -> None:
    records = random_records(seed, count)
    block = Plausibility(records, records, TRAVEL).block(slice(0, count))
    expected = [[plausibility(records, i, j) for j in range(count)] for i in range(count)]
    np.testing.assert_allclose(block.numpy(), expected, atol=1e-7)


@given(st.integers(0, 500), st.integers(2, 25))
def test_overlap_and_same_camera_are_zero_or_one(seed: int, count: int) -> None:
    records = random_records(seed, count)
    links = mine_overlaps(records)
    dense = np.zeros((count, count), dtype=np.float32)
    dense[links.rows(), links.index] = 1
    assert np.array_equal(Overlap(links).block(slice(0, count)).numpy(), dense)
    same = SameCamera(records.camids, records.camids).block(slice(1, count))
    assert np.array_equal(same.numpy(), (records.camids[1:, None] == records.camids).astype(np.float32))


@given(st.integers(0, 500), st.integers(3, 25))
def test_the_graph_holds_exactly_the_modified_pairs_within_its_radius(seed: int, count: int) -> None:
    records, dist, radius = random_records(seed, count), symmetric(count, seed), 0.7
    modifiers = [
        Penalty(SameCamera(records.camids, records.camids), 0.006),
        SpatioTemporalFactor(Plausibility(records, records, TRAVEL)),
    ]
    dense = dist.clone()
    for modifier in modifiers:
        dense = modifier.apply(dense, slice(0, count))
    graph = modify_graph(graph_of(dist, radius), modifiers).within(radius)
    expected = graph_of(dense, radius)
    assert torch.equal(graph.i, expected.i) and torch.equal(graph.j, expected.j)
    torch.testing.assert_close(graph.dist, expected.dist)


def test_formulas() -> None:
    dist, value = torch.tensor([2.0]), torch.tensor([1.0])
    relation = DenseRelation(np.ones((1, 1), dtype=np.float32))
    assert float(Penalty(relation, 0.03).change(dist, value)) == pytest.approx(2.03)
    assert float(Penalty(relation, OVERLAP_PENALTY).change(dist, value)) == 1002.0
    for p, factor in {0.0: 1.6, 0.1: 1.27, 0.3: 1.054, 1.0: 1.0002}.items():
        changed = SpatioTemporalFactor(relation, 0.6, 8.0).change(dist, torch.tensor([p]))
        assert float(changed) == pytest.approx(2 * (1 + 0.6 * math.exp(-8 * p)))
        assert float(changed) == pytest.approx(2 * factor, rel=1e-3)


def test_blocks_of_queries_are_rows_of_the_whole() -> None:
    records = random_records(1, 20)
    query, gallery = records.take(np.arange(7)), records.take(np.arange(7, 20))
    modifiers = [
        Penalty(Overlap(mine_overlaps(query, gallery)), OVERLAP_PENALTY),
        Penalty(SameCamera(query.camids, gallery.camids), 0.03),
        SpatioTemporalFactor(Plausibility(query, gallery, TRAVEL)),
    ]
    blocks = DistanceBlocks(torch.randn(7, 4), torch.randn(13, 4), modifiers=modifiers)
    whole = blocks.dense()
    torch.testing.assert_close(torch.cat([blocks(slice(k, k + 1)) for k in range(7)]), whole)
    # The order counts: the factor falls on the penalties as well.
    assert float(whole.max()) > 1000


def test_what_may_lower_a_distance_is_refused_on_the_graph() -> None:
    graph = graph_of(symmetric(4, 0), 0.9)
    negative = DenseRelation(np.full((4, 4), -1.0, dtype=np.float32))
    positive = DenseRelation(np.ones((4, 4), dtype=np.float32))
    for modifier in (
        Penalty(negative, 0.006),
        Penalty(positive, -0.1),
        Penalty(negative, OVERLAP_PENALTY),
        SpatioTemporalFactor(positive, strength=-0.1),
    ):
        assert not modifier.never_lowers
        with pytest.raises(ValueError, match="may lower distances"):
            modify_graph(graph, [modifier])
    with pytest.raises(ValueError, match=r"shape \(3, 3\) for 4 samples"):
        modify_graph(graph, [Penalty(DenseRelation(np.ones((3, 3), dtype=np.float32)), 0.1)])


def test_records_and_table_must_fit() -> None:
    records = random_records(0, 20, cameras=3)
    narrow = TravelTable(np.zeros((2, 2, 3), dtype=np.float32), 100, 0.5)
    with pytest.raises(ValueError, match="camera 3 is beyond the table's 2"):
        Plausibility(records, records, narrow)
