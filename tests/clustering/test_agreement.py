"""CDSM's three radii: reliabilities by counting against the definition by sets, and their memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from unreid.clustering import AgreementDBSCAN, SelfPacedDBSCAN, dbscan
from unreid.clustering.agreement import agreement
from unreid.clustering.overlap import label_mate_iou, with_own_labels
from unreid.config import get_cfg
from unreid.neighbors import jaccard_graph
from unreid.utils.errors import UserError


def iou_by_sets(first: list[int], second: list[int]) -> list[float]:
    def mates(labels: list[int]) -> list[set[int]]:
        return [{j for j, other in enumerate(labels) if other == mine} for mine in labels]

    return [len(a & b) / len(a | b) for a, b in zip(mates(first), mates(second))]


labelings = st.integers(1, 30).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(-1, 4), min_size=n, max_size=n) for _ in range(3)])
)


def compact(labels: list[int]) -> torch.Tensor:
    found = sorted({label for label in labels if label >= 0})
    return torch.tensor([found.index(label) if label >= 0 else -1 for label in labels])


def with_singletons(labels: torch.Tensor) -> list[int]:
    following = iter(range(100, 200))
    return [label if label >= 0 else next(following) for label in labels.tolist()]


@given(labelings)
def test_reliabilities_equal_the_definition_by_sets(three: tuple[list[int], list[int], list[int]]) -> None:
    labels, tight, loose = (compact(labeling) for labeling in three)
    count = int(labels.max()) + 1
    found = agreement(labels, tight, loose, count)
    comp = iou_by_sets(with_singletons(labels), with_singletons(tight))
    indep = iou_by_sets(with_singletons(labels), with_singletons(loose))
    np.testing.assert_allclose(found["r_comp"], comp, rtol=1e-6)
    np.testing.assert_allclose(found["r_indep"], indep, rtol=1e-6)
    for name, values in (("thr_comp", comp), ("thr_indep", indep)):
        best = [max(v for v, label in zip(values, labels.tolist()) if label == c) for c in range(count)]
        np.testing.assert_allclose(found[name], [0.2 * value for value in best], rtol=1e-6)


@given(labelings, st.sampled_from([0.2, 0.6, 1.0]))
def test_each_reliability_has_a_threshold_of_its_own(
    three: tuple[list[int], list[int], list[int]], ratio: float
) -> None:
    labels, tight, loose = (compact(labeling) for labeling in three)
    count = int(labels.max()) + 1
    for rule, both in (("or", any), ("and", all)):
        found = agreement(labels, tight, loose, count, rule=rule, ratio=ratio)
        gates = [(found["r_comp"], found["thr_comp"]), (found["r_indep"], found["thr_indep"])]
        expected = [
            label < 0 or both(bool(value[at] >= threshold[label]) for value, threshold in gates)
            for at, label in enumerate(labels.tolist())
        ]
        assert found["reliable"].tolist() == expected


def test_outliers_are_numbered_after_the_clusters_in_order() -> None:
    assert with_own_labels(torch.tensor([-1, 1, 0, -1, 1])).tolist() == [2, 1, 0, 3, 1]
    assert with_own_labels(torch.tensor([-1, -1])).tolist() == [0, 1]
    assert with_own_labels(torch.empty(0, dtype=torch.int64)).shape == (0,)
    assert label_mate_iou(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])).tolist() == [0.5, 1 / 3, 0.5]


def test_the_rules_gate_members_and_never_outliers() -> None:
    labels = torch.tensor([0] * 8 + [-1])
    tight = torch.tensor([0] * 7 + [-1, -1])  # the eighth sample agrees far less than the best
    loose = torch.tensor([0] * 9)
    expected = {"or": [True] * 9, "and": [True] * 7 + [False, True], "off": [True] * 9}
    for rule, wanted in expected.items():
        assert agreement(labels, tight, loose, 1, rule=rule)["reliable"].tolist() == wanted
    with pytest.raises(ValueError, match="or, and, off"):
        AgreementDBSCAN(rule="xor")


@pytest.mark.parametrize("clusterer", [AgreementDBSCAN, SelfPacedDBSCAN])
def test_the_tight_radius_must_stay_positive(clusterer: type) -> None:
    for gap in (-0.1, 0.5, 0.6):
        with pytest.raises(UserError, match="EPS_GAP"):
            clusterer(0.5, gap)


def test_one_graph_serves_the_three_radii() -> None:
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(25, 16))
    x = torch.from_numpy(centers[rng.integers(0, 25, 300)] + 0.6 * rng.normal(size=(300, 16))).float()
    x = normalize(x, dim=1)
    cfg = get_cfg()
    cfg.CLUSTER.EPS, cfg.CLUSTER.EPS_GAP, cfg.MEMORY.RELIABILITY = 0.5, 0.05, "and"
    clusterer = AgreementDBSCAN.from_config(cfg)
    assert clusterer.rule == "and" and clusterer.radius == pytest.approx(0.55)
    clustering = clusterer.cluster(x, jaccard_graph(x, k1=15, k2=4, radius=clusterer.radius))
    separately = [
        dbscan(jaccard_graph(x, k1=15, k2=4, radius=eps), eps)[0] for eps in (0.5, clusterer.eps - 0.05, 0.55)
    ]
    assert torch.equal(clustering.labels, separately[0])
    expected = agreement(*separately, clustering.num_clusters, rule="and")
    assert torch.equal(clustering.reliable, expected.pop("reliable")) and set(expected) == set(clustering.extras)
    for key, value in expected.items():
        assert torch.equal(clustering.extras[key], value), key
    assert len(clustering.extras["thr_comp"]) == clustering.num_clusters


def test_fifty_thousand_samples_need_little_memory() -> None:
    """N x N label matrices would take 10 GB each."""
    code = """
import resource, torch
from unreid.clustering.agreement import agreement
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
labels = torch.randint(-1, 2500, (3, 50_000))
agreement(*labels[:, :100], 2500)
before = peak()
found = agreement(*labels, 2500)
print(peak() - before, len(found["reliable"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    extra, samples = done.stdout.split()
    assert float(extra) < 500 and int(samples) == 50_000
