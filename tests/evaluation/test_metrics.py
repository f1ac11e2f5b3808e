from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unreid.evaluation.metrics import cmc_map
from unreid.utils.errors import UserError

from .oracle import random_test_set, textbook_ranking


@given(
    seed=st.integers(0, 10_000),
    levels=st.sampled_from([0, 2, 7]),
    first=st.booleans(),
    separate=st.booleans(),
    block=st.sampled_from([None, 1, 5]),
)
def test_equals_the_textbook_with_and_without_ties(seed, levels, first, separate, block) -> None:
    data = random_test_set(seed, levels=levels)
    cmc, step, trapezoid = textbook_ranking(*data, topk=30, first_match_break=first, separate=separate)
    if np.isnan(step).all():
        return
    result = cmc_map(*data, topk=30, first_match_break=first, separate_camera_set=separate, block=block)
    np.testing.assert_allclose(result.cmc, cmc, atol=1e-12)
    np.testing.assert_allclose(result.ap, step, atol=1e-12)
    np.testing.assert_allclose(result.ap_trapezoid, trapezoid, atol=1e-12)
    assert result.num_valid == (~np.isnan(step)).sum()
    np.testing.assert_array_equal(result.valid, ~np.isnan(step))


@pytest.mark.parametrize("levels", [0, 4])
def test_average_precision_is_that_of_scikit_learn(levels) -> None:
    from sklearn.metrics import average_precision_score

    dist, q_pids, g_pids, q_cams, g_cams = random_test_set(3, levels=levels)
    result = cmc_map(dist, q_pids, g_pids, q_cams, g_cams)
    for i in np.flatnonzero(result.valid):
        kept = (g_pids != q_pids[i]) | (g_cams != q_cams[i])
        expected = average_precision_score(g_pids[kept] == q_pids[i], -dist[i][kept])
        assert result.ap[i] == pytest.approx(expected, abs=1e-12)


def test_a_function_of_row_slices_replaces_the_matrix() -> None:
    dist, *ids = random_test_set(1, queries=11)
    asked = []

    def rows(part: slice) -> torch.Tensor:
        asked.append(part)
        return torch.from_numpy(dist[part])

    lazy, stored = cmc_map(rows, *ids, block=4), cmc_map(dist, *ids)
    np.testing.assert_array_equal(lazy.cmc, stored.cmc)
    np.testing.assert_array_equal(lazy.ap, stored.ap)
    assert [(part.start, part.stop) for part in asked] == [(0, 4), (4, 8), (8, 11)]


def test_the_distances_are_left_alone() -> None:
    dist, *ids = random_test_set(2)
    before = dist.copy()
    cmc_map(dist, *ids)
    cmc_map(torch.from_numpy(dist), *ids, single_gallery_shot=True)
    np.testing.assert_array_equal(dist, before)


def test_float64_distances_are_not_rounded() -> None:
    dist = np.array([[0.5 + 1e-12, 0.5]])
    result = cmc_map(dist, [1], [1, 2], [0], [1, 1])
    assert result.cmc[0] == 0.0 and result.cmc[1] == 1.0


def test_filter_switched_off_keeps_the_same_camera() -> None:
    dist = np.array([[0.1, 0.2, 0.3]])
    ids = ([1], [1, 2, 1], [0], [0, 0, 1])
    assert cmc_map(dist, *ids).mAP == pytest.approx(0.5)
    assert cmc_map(dist, *ids, filter_same_camera=False).mAP == pytest.approx((1 + 2 / 3) / 2)


def test_ties_keep_gallery_order_in_the_cmc_and_share_their_precision() -> None:
    ids = ([1], [2, 1], [0], [1, 1])
    result = cmc_map(np.zeros((1, 2)), *ids)
    np.testing.assert_array_equal(result.cmc[:2], [0.0, 1.0])
    assert result.mAP == 0.5
    first = cmc_map(np.zeros((1, 2)), [1], [1, 2], [0], [1, 1])
    np.testing.assert_array_equal(first.cmc[:2], [1.0, 1.0])
    assert first.mAP == 0.5


def test_skipped_queries_do_not_count_and_the_cmc_is_flat_beyond_the_gallery() -> None:
    dist = np.array([[0.1, 0.2], [0.1, 0.2]])
    result = cmc_map(dist, [1, 9], [1, 2], [0, 0], [1, 1], topk=7)
    assert result.num_valid == 1 and np.isnan(result.ap[1])
    np.testing.assert_array_equal(result.cmc, np.ones(7))
    assert result.as_dict() == {"mAP": 100.0, "R1": 100.0, "R5": 100.0, "R10": 100.0}


def test_as_dict_with_a_short_cmc() -> None:
    result = cmc_map(*random_test_set(4), topk=3)
    assert result.as_dict()["R10"] == 100 * result.cmc[2]


def test_single_shot_draws_one_entry_per_identity() -> None:
    """With every gallery identity once, a draw changes nothing; with two entries each is drawn half the time."""
    dist, q_pids, _, q_cams, _ = random_test_set(5, gallery=5)
    g_pids, g_cams = np.arange(1, 6), np.full(5, 9)
    once = cmc_map(dist, q_pids, g_pids, q_cams, g_cams, single_gallery_shot=True)
    np.testing.assert_allclose(once.cmc, cmc_map(dist, q_pids, g_pids, q_cams, g_cams).cmc)
    # The match lies at 0.1 or 0.3, the one non-match at 0.2: first place in half of the draws.
    generator = torch.Generator().manual_seed(0)
    result = cmc_map(
        np.array([[0.1, 0.2, 0.3]]),
        [1],
        [1, 2, 1],
        [0],
        [1, 1, 1],
        single_gallery_shot=True,
        repeats=1500,
        generator=generator,
    )
    assert result.cmc[0] == pytest.approx(0.5, abs=0.05) and result.cmc[1] == pytest.approx(1.0)


def test_single_shot_does_not_depend_on_the_block() -> None:
    data = random_test_set(6, queries=9)
    runs = [
        cmc_map(*data, single_gallery_shot=True, generator=torch.Generator().manual_seed(3), block=block).cmc
        for block in (1, 4, None)
    ]
    np.testing.assert_allclose(runs[0], runs[1], atol=1e-12)
    np.testing.assert_allclose(runs[0], runs[2], atol=1e-12)


def test_no_valid_query_is_a_user_error() -> None:
    with pytest.raises(UserError, match="No query has a match"):
        cmc_map(np.zeros((1, 1)), [1], [1], [0], [0])
    with pytest.raises(UserError, match="No query has a match"):
        cmc_map(np.zeros((1, 0)), [1], [], [0], [])


def test_bad_input() -> None:
    dist, *ids = random_test_set(7)
    with pytest.raises(ValueError, match="distances are"):
        cmc_map(dist[:, :-1], *ids)
    with pytest.raises(ValueError, match="ap must be"):
        cmc_map(dist, *ids, ap="area")
    with pytest.raises(ValueError, match="cameras"):
        cmc_map(dist, ids[0], ids[1], ids[2][:-1], ids[3])
    dist[3, 4] = np.nan
    with pytest.raises(ValueError, match="not all finite"):
        cmc_map(dist, *ids)


# -------------------------------------------------------------------- strings, no cameras, mINP, the per-query table


def test_identities_and_cameras_may_be_strings_and_arrays_lists() -> None:
    rng = np.random.default_rng(0)
    dist = rng.random((6, 20))
    ids = rng.integers(0, 4, 6), rng.integers(0, 4, 20)
    cams = rng.integers(0, 3, 6), rng.integers(0, 3, 20)
    expected = cmc_map(dist, *ids, *cams)
    named = [[f"person {k}" for k in side] for side in ids] + [[f"c{k}" for k in side] for side in cams]
    for ids_and_cameras in (
        named,
        [side.tolist() for side in (*ids, *cams)],
        [torch.from_numpy(side) for side in (*ids, *cams)],
    ):
        for distances in (dist, dist.tolist(), torch.from_numpy(dist)):
            got = cmc_map(distances, *ids_and_cameras)
            np.testing.assert_allclose(got.ap, expected.ap, rtol=1e-6)
            np.testing.assert_allclose(got.cmc, expected.cmc)


def test_without_cameras_nothing_is_removed() -> None:
    dist, q, g = np.array([[0.1, 0.3, 0.2]]), [1], [1, 1, 2]
    result = cmc_map(dist, q, g)
    assert result.ap.tolist() == pytest.approx([(1 + 2 / 3) / 2]) and result.cmc[0] == 1.0
    same = cmc_map(dist, q, g, [0], [0, 1, 1])
    assert same.ap.tolist() == pytest.approx([0.5])
    with pytest.raises(ValueError, match="for queries and gallery.*or for neither"):
        cmc_map(dist, q, g, [0])
    with pytest.raises(ValueError, match="separate_camera_set needs cameras"):
        cmc_map(dist, q, g, separate_camera_set=True)
    with pytest.raises(UserError, match="No query has a match in the gallery; check"):
        cmc_map(dist, [5], g)


@pytest.mark.parametrize("seed", range(5))
def test_minp_and_the_table_follow_their_definitions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dist = rng.random((8, 30)).astype(np.float32)
    q, g, qc, gc = rng.integers(0, 9, 8), rng.integers(0, 9, 30), rng.integers(0, 2, 8), rng.integers(0, 2, 30)
    result = cmc_map(dist, q, g, qc, gc, block=3)
    table = result.table()
    assert {name: len(column) for name, column in table.items()} == dict.fromkeys(table, 8)
    for row in range(8):
        kept = ~((g == q[row]) & (gc == qc[row]))
        order = np.argsort(dist[row][kept], kind="stable")
        ranks = np.flatnonzero((g[kept] == q[row])[order]) + 1
        assert table["matches"][row] == len(ranks)
        assert table["first_rank"][row] == (ranks[0] if len(ranks) else 0)
        if len(ranks):
            assert table["inp"][row] == pytest.approx(len(ranks) / ranks[-1])
            assert table["ap"][row] == result.ap[row]
        else:
            assert np.isnan(table["inp"][row])
    assert result.mINP == pytest.approx(np.nanmean(result.inp))
