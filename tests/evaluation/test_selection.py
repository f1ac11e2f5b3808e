from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from unreid.evaluation.selection import label_free_score, simplified_silhouette, stability


def blobs(spread: float, outliers: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(6).repeat_interleave(10)
    features = torch.eye(6, 16)[labels] + spread * torch.randn(60, 16, generator=generator)
    labels[:outliers] = -1
    return features, labels


@given(seed=st.integers(0, 1000), block=st.sampled_from([None, 3]))
def test_silhouette_equals_the_loop(seed, block) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(25, 4, generator=generator)
    labels = torch.randint(-1, 5, (25,), generator=generator)
    x = torch.nn.functional.normalize(features.double())
    centroid = {c: x[labels == c].mean(0) for c in set(labels.tolist()) - {-1}}
    values = []
    for row, label in zip(x, labels.tolist()):
        if label < 0 or (labels == label).sum() == 1 or len(centroid) < 2:
            values.append(0.0)
            continue
        a = (row - centroid[label]).norm()
        b = min((row - centre).norm() for c, centre in centroid.items() if c != label)
        values.append(float((b - a) / max(a, b)))
    expected = sum(values) / len(values)
    assert simplified_silhouette(features, labels, block=block) == pytest.approx(expected, abs=1e-5)


def test_tighter_clusters_and_fewer_outliers_score_higher() -> None:
    scores = [simplified_silhouette(*blobs(*case)) for case in ((0.05,), (0.3,), (0.3, 20), (0.3, 60))]
    assert scores == sorted(scores, reverse=True) and scores[0] > 0.8 and scores[-1] == 0


def test_one_cluster_has_no_silhouette() -> None:
    assert simplified_silhouette(torch.randn(5, 3), torch.zeros(5).long()) == 0
    assert simplified_silhouette(torch.ones(4, 3), torch.tensor([0, 0, 1, 1])) == 0


def test_stability_is_one_for_the_same_partition_under_other_names() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2, -1])
    renamed = torch.tensor([5, 5, 0, 0, 9, 9, -1])
    assert stability(labels, renamed) == pytest.approx(1.0)


@given(seed=st.integers(0, 1000))
def test_stability_is_agreement_times_coverage(seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randint(-1, 3, (30,), generator=generator) for _ in range(2))
    both, either = (a >= 0) & (b >= 0), (a >= 0) | (b >= 0)
    expected = max(0.0, adjusted_rand_score(a[both], b[both])) * both.sum() / either.sum()
    assert stability(a, b) == pytest.approx(float(expected))
    assert stability(b, a) == pytest.approx(stability(a, b))


def test_nothing_clustered_is_not_stable() -> None:
    outliers = torch.full((4,), -1)
    assert stability(outliers, outliers) == 0 and stability(outliers, torch.zeros(4)) == 0


def test_a_collapsed_model_does_not_win() -> None:
    features, labels = blobs(0.2)
    healthy = label_free_score(features, labels, labels)
    collapsed = torch.ones(60, 16) + 1e-3 * features
    everything = torch.zeros(60, dtype=torch.int64)
    assert healthy > 0.4
    assert label_free_score(collapsed, everything, everything) == 0
    assert label_free_score(features, labels, None) == 0
    shuffled = labels[torch.randperm(60, generator=torch.Generator().manual_seed(0))]
    assert label_free_score(features, labels, shuffled) < 0.2 * healthy


def test_criteria_are_the_factors() -> None:
    features, labels = blobs(0.2, outliers=5)
    before = labels.clone()
    before[10:14] = 3
    parts = [label_free_score(features, labels, before, criterion=name) for name in ("stability", "silhouette")]
    assert label_free_score(features, labels, before) == pytest.approx(parts[0] * parts[1])
    assert parts == [stability(labels, before), simplified_silhouette(features, labels)]


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="criterion must be"):
        label_free_score(torch.zeros(1, 1), [0], None, criterion="accuracy")
    with pytest.raises(ValueError, match="labels, but"):
        stability([0, 0], [0, 0, 0])
    with pytest.raises(ValueError, match="features for"):
        simplified_silhouette(torch.zeros(2, 1), np.zeros(3, int))
