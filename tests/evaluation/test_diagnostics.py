from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from unreid.evaluation.diagnostics import cluster_report


@given(seed=st.integers(0, 10_000), clusters=st.sampled_from([1, 4, 30]), unknown=st.booleans())
def test_equals_counting_pairs_and_scikit_learn(seed, clusters, unknown) -> None:
    rng = np.random.default_rng(seed)
    labels, pids = rng.integers(-1, clusters, 40), rng.integers(-1 if unknown else 0, 6, 40)
    camids = rng.integers(0, 3, 40)
    report = cluster_report(torch.from_numpy(labels), pids, camids)
    known = np.flatnonzero(pids >= 0)
    pairs = list(combinations(known, 2))
    inside = [(i, j) for i, j in pairs if labels[i] == labels[j] >= 0]
    same = [(i, j) for i, j in pairs if pids[i] == pids[j]]
    right = set(inside) & set(same)
    cross = [(i, j) for i, j in same if camids[i] != camids[j]]
    share = lambda part, whole: len(part) / len(whole) if whole else 0.0  # noqa: E731
    assert report["pair_precision"] == pytest.approx(share(right, inside))
    assert report["pair_recall"] == pytest.approx(share(right, same))
    assert report["cross_camera_recall"] == pytest.approx(share(right & set(cross), cross))
    assert report["clusters"] == len(set(labels) - {-1}) and report["outliers"] == (labels < 0).sum()
    keep = (labels >= 0) & (pids >= 0)
    assert report["ari"] == pytest.approx(adjusted_rand_score(pids[keep], labels[keep]), abs=1e-9)
    assert report["nmi"] == pytest.approx(normalized_mutual_info_score(pids[keep], labels[keep]), abs=1e-9)
    purity = sum(np.bincount(pids[keep & (labels == c)]).max(initial=0) for c in set(labels) - {-1})
    assert report["purity"] == pytest.approx(purity / keep.sum())


def test_perfect_clustering() -> None:
    pids = np.array([5, 5, 9, 9, 9])
    report = cluster_report(pids, pids, np.array([0, 1, 0, 0, 1]))
    for name in ("purity", "nmi", "ari", "pair_precision", "pair_recall", "cross_camera_recall"):
        assert report[name] == pytest.approx(1.0)
    assert report["clusters"] == 2 and report["largest"] == 3 and report["outliers"] == 0


def test_only_outliers() -> None:
    report = cluster_report(np.full(4, -1), np.array([1, 1, 2, 2]))
    assert report == {
        "clusters": 0,
        "outliers": 4,
        "largest": 0,
        "purity": 0,
        "nmi": 0,
        "ari": 0,
        "pair_precision": 0,
        "pair_recall": 0,
    }


def test_one_cluster_of_everything_has_full_recall_and_no_agreement() -> None:
    report = cluster_report(np.zeros(6), np.array([1, 1, 2, 2, 3, 3]), np.arange(6))
    assert report["pair_recall"] == 1 and report["cross_camera_recall"] == 1
    assert report["pair_precision"] == pytest.approx(3 / 15)
    assert report["ari"] == 0 and report["nmi"] == 0 and report["purity"] == pytest.approx(1 / 3)


def test_everyone_alone_has_a_fine_nmi_and_no_pair() -> None:
    report = cluster_report(np.arange(60), np.arange(60) // 4)
    assert report["nmi"] > 0.7 and report["pair_precision"] == 0 and report["pair_recall"] == 0


def test_no_samples_and_bad_lengths() -> None:
    assert cluster_report(np.empty(0), np.empty(0), np.empty(0))["clusters"] == 0
    with pytest.raises(ValueError, match="pids must be"):
        cluster_report(np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match="camids must be"):
        cluster_report(np.zeros(3), np.zeros(3), np.zeros(2))
