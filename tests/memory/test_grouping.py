"""Samples by class and rank, with shapes from the data or from bounds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unreid.memory.grouping import group_by_class, masked_argmin, rank_in_class

labels = st.lists(st.integers(0, 5), min_size=1, max_size=20)


@given(labels)
def test_every_sample_stands_at_its_rank_in_its_class(values: list[int]) -> None:
    groups = group_by_class(torch.tensor(values))
    assert groups.label.tolist() == sorted(set(values))
    for position, value in enumerate(values):
        group, rank = int(groups.group[position]), int(groups.rank[position])
        assert rank == values[:position].count(value)
        assert int(groups.label[group]) == value and int(groups.table[group, rank]) == position
    assert int(groups.valid.sum()) == len(values)
    assert groups.valid.shape[1] == max(values.count(value) for value in values)
    assert rank_in_class(torch.tensor(values)).tolist() == groups.rank.tolist()


@given(labels, st.integers(0, 3))
def test_static_shapes_repeat_the_first_group(values: list[int], slack: int) -> None:
    targets = torch.tensor(values)
    exact = group_by_class(targets)
    most = max(values.count(value) for value in values)
    padded = group_by_class(targets, num_instances=most + slack, num_classes=6, static=True)
    found, width = exact.table.shape
    assert padded.table.shape == (min(len(values), 6), min(len(values), most + slack))
    assert torch.equal(padded.table[:found, :width], exact.table)
    assert torch.equal(padded.valid[:found, :width], exact.valid) and not padded.valid[:found, width:].any()
    for name in ("label", "table", "valid"):
        tail = getattr(padded, name)[found:]
        assert torch.equal(tail, getattr(padded, name)[:1].expand_as(tail))


def test_a_bound_that_is_too_small_stops_only_where_it_is_used() -> None:
    assert group_by_class(torch.tensor([3, 3]), num_instances=1).valid.all()
    with pytest.raises(RuntimeError, match="more samples than num_instances"):
        group_by_class(torch.tensor([3, 3]), num_instances=1, static=True)


def test_bad_targets_are_errors() -> None:
    with pytest.raises(ValueError, match="at least one label"):
        group_by_class(torch.empty(0, dtype=torch.int64))
    with pytest.raises(ValueError, match="static shapes need"):
        group_by_class(torch.tensor([1]), static=True)


def test_masked_argmin_takes_the_first_of_the_allowed_minima() -> None:
    values = torch.tensor([[0.0, 2.0, 1.0, 1.0]])
    assert masked_argmin(values, torch.tensor([[False, True, True, True]])).tolist() == [2]
