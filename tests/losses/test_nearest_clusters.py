"""The nearest clusters of RLSCE against a full sort of the dense distance matrix."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import Tensor

from unreid.losses import nearest_clusters
from unreid.neighbors.jaccard import MAX_RADIUS, jaccard_graph


def slow(centres: Tensor, k: int, k1: int, k2: int) -> list[list[int]]:
    k1 = min(k1, len(centres))
    dense = jaccard_graph(centres, k1=k1, k2=min(k1, k2), radius=MAX_RADIUS).to_dense().div(1e-6).round()
    others = [[c for c in range(len(centres)) if c != own] for own in range(len(centres))]
    return [sorted(row, key=lambda c: (float(dense[own, c]), c))[:k] for own, row in enumerate(others)]


@pytest.mark.parametrize(("count", "k", "k1", "scale"), [(70, 8, 30, 1.0), (70, 60, 30, 8.0), (40, 5, 10, 1.0)])
def test_ranks_like_a_full_sort(count: int, k: int, k1: int, scale: float) -> None:
    centres = scale * torch.randn(count, 16)
    assert nearest_clusters(centres, k, k1=k1).tolist() == slow(centres, k, k1, 6)


def test_blocks_of_rows_give_the_same_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    centres = torch.randn(50, 8)
    whole = nearest_clusters(centres, 7)
    monkeypatch.setattr(importlib.import_module("unreid.losses.nearest_clusters"), "BLOCK_ENTRIES", 150)
    assert torch.equal(nearest_clusters(centres, 7), whole)


@pytest.mark.parametrize(("count", "width"), [(1, 0), (2, 1), (5, 4), (12, 9)])
def test_few_clusters_lower_k_and_k1(count: int, width: int) -> None:
    nearest = nearest_clusters(torch.randn(count, 8), 9)
    assert nearest.shape == (count, width)
    assert all(own not in row for own, row in enumerate(nearest.tolist()))


def test_ties_go_to_the_lowest_number_and_self_is_never_among_them() -> None:
    nearest = nearest_clusters(torch.ones(6, 4), 3)  # all distances are 0
    assert nearest.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2], [0, 1, 2]]
