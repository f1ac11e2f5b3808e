from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unreid.evaluation import rerank as module
from unreid.evaluation.distance import pairwise_distance
from unreid.evaluation.rerank import rerank, rerank_features

from .oracle import dense_rerank


def features(seed: int, queries: int = 8, gallery: int = 30, ids: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(ids, 12, generator=generator)
    both = centres[torch.randint(ids, (queries + gallery,), generator=generator)]
    both = torch.nn.functional.normalize(both + 0.6 * torch.randn(both.shape, generator=generator))
    return both[:queries], both[queries:]


def blocks(query: torch.Tensor, gallery: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return pairwise_distance(query, gallery), pairwise_distance(query, query), pairwise_distance(gallery, gallery)


@given(
    seed=st.integers(0, 10_000),
    k1=st.sampled_from([1, 5, 6, 10, 50]),
    k2=st.sampled_from([1, 3]),
    weight=st.sampled_from([0.0, 0.3, 1.0]),
    square=st.booleans(),
    block=st.sampled_from([None, 7]),
)
def test_equals_the_dense_definition(seed, k1, k2, weight, square, block) -> None:
    parts = blocks(*features(seed))
    got = rerank(*parts, k1=k1, k2=k2, lambda_value=weight, square_input=square, block=block)
    expected = dense_rerank(*(part.numpy() for part in parts), k1, k2, weight, square)
    np.testing.assert_allclose(got.numpy(), expected, atol=2e-5)


def test_an_unsymmetric_block_is_read_as_published() -> None:
    q_g, q_q, g_g = blocks(*features(3))
    g_g = g_g + 0.2 * torch.rand(g_g.shape)
    expected = dense_rerank(q_g.numpy(), q_q.numpy(), g_g.numpy(), 6, 3, 0.3)
    np.testing.assert_allclose(rerank(q_g, q_q, g_g, k1=6, k2=3).numpy(), expected, atol=2e-5)


def test_features_and_row_functions_give_the_same() -> None:
    query, gallery = features(1)
    q_g, q_q, g_g = blocks(query, gallery)
    stored = rerank(q_g, q_q, g_g, k1=6, k2=3)
    torch.testing.assert_close(rerank_features(query, gallery, k1=6, k2=3), stored, atol=1e-5, rtol=0)
    lazy = rerank(q_g, lambda rows: q_q[rows], lambda rows: g_g[rows], k1=6, k2=3)
    torch.testing.assert_close(lazy, stored)


def test_changed_query_gallery_distances_are_used() -> None:
    query, gallery = features(2)
    q_g, q_q, g_g = blocks(query, gallery)
    q_g[:, 5] += 1000
    got = rerank_features(query, gallery, q_g=q_g, k1=6, k2=3)
    np.testing.assert_allclose(got.numpy(), dense_rerank(q_g.numpy(), q_q.numpy(), g_g.numpy(), 6, 3, 0.3), atol=2e-5)


def test_more_duplicates_than_neighbours_stay_finite_and_close() -> None:
    query, gallery = features(4)
    gallery = torch.cat([query[:1].repeat(20, 1), gallery])
    got = rerank_features(query, gallery, k1=5, k2=3)
    assert torch.isfinite(got).all() and got.min() >= 0
    all_equal = rerank_features(torch.ones(2, 3), torch.ones(9, 3), k1=3, k2=2)
    assert torch.isfinite(all_equal).all()


def test_small_work_budgets_change_nothing(monkeypatch) -> None:
    query, gallery = features(5)
    whole = rerank_features(query, gallery, k1=6, k2=3)
    monkeypatch.setattr(module, "EXPANSION_BUDGET", 3)
    torch.testing.assert_close(rerank_features(query, gallery, k1=6, k2=3), whole)


def test_ties_at_the_boundary_go_to_the_lower_index() -> None:
    values = torch.tensor([[3.0, 1.0, 2.0, 1.0, 1.0, 1.0]])
    assert module.smallest(values, 2).tolist() == [[1, 3]]
    assert module.smallest(values, 5).tolist() == [[1, 3, 4, 5, 2]]
    assert module.smallest(values, 6).tolist() == [[1, 3, 4, 5, 2, 0]]


def test_inputs_are_left_alone() -> None:
    parts = blocks(*features(6))
    before = [part.clone() for part in parts]
    rerank(*parts, k1=6, k2=3)
    for part, old in zip(parts, before):
        torch.testing.assert_close(part, old, atol=0, rtol=0)


def test_bad_input() -> None:
    q_g, q_q, g_g = blocks(*features(7))
    with pytest.raises(ValueError, match="q_q must be"):
        rerank(q_g, q_q[:-1], g_g)
    for options in ({"k1": 0}, {"k2": 0}, {"lambda_value": 1.5}):
        with pytest.raises(ValueError, match="need k1"):
            rerank(q_g, q_q, g_g, **options)
