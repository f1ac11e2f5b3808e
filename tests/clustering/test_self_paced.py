"""SpCL's self-paced labels against the definition by sets; the threshold's life; every sample trains."""

from __future__ import annotations

import logging

import pytest
import torch
from hypothesis import given

from unreid.clustering import SelfPacedDBSCAN
from unreid.clustering.self_paced import independence_threshold, self_paced_labels
from unreid.config import get_cfg
from unreid.structures import PairGraph

from .test_agreement import compact, iou_by_sets, labelings, with_singletons


def by_sets(labels: torch.Tensor, tight: torch.Tensor, loose: torch.Tensor) -> list[int]:
    """SpCL's reliability criterion (NeurIPS 2020) with lists and sets."""
    count = int(labels.max()) + 1
    following = iter(range(count, 1000))
    ids = [label if label >= 0 else next(following) for label in labels.tolist()]
    comp = [1 - v for v in iou_by_sets(with_singletons(labels), with_singletons(tight))]
    indep = [1 - v for v in iou_by_sets(with_singletons(labels), with_singletons(loose))]
    members = {k: [n for n, own in enumerate(ids) if own == k] for k in sorted(set(ids))}
    id_comp = {k: min(comp[n] for n in m) for k, m in members.items()}
    id_indep = {k: min(indep[n] for n in m) for k, m in members.items()}
    several = sorted(id_indep[k] for k, m in members.items() if len(m) > 1)
    if not several:
        return ids
    threshold = several[min(len(several) - 1, round(0.9 * len(several)))]
    released = iter(range(max(ids) + 1, 2000))
    return [k if id_indep[k] <= threshold and comp[n] <= id_comp[k] else next(released) for n, k in enumerate(ids)]


@given(labelings)
def test_labels_equal_the_rule_by_sets(three: tuple[list[int], list[int], list[int]]) -> None:
    labels, tight, loose = (compact(labeling) for labeling in three)
    found = self_paced_labels(labels, tight, loose)
    assert found.labels.tolist() == by_sets(labels, tight, loose)
    assert (found.labels[found.released] >= len(found.id_comp)).all()


def test_the_threshold_rounds_half_to_even_and_stays_inside() -> None:
    values = torch.arange(5) / 10
    two = torch.full((5,), 2)
    assert independence_threshold(values.double(), two, 0.9) == pytest.approx(0.4)  # round(4.5) = 4
    assert independence_threshold(values[:1].double(), two[:1], 0.9) == 0
    assert independence_threshold(values.double(), torch.ones(5, dtype=torch.int64), 0.9) is None


def test_without_a_cluster_all_labels_are_kept_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    outliers = torch.full((4,), -1)
    with caplog.at_level(logging.WARNING):
        found = self_paced_labels(outliers, outliers, outliers)
    assert found.labels.tolist() == [0, 1, 2, 3] and found.threshold is None and not found.released.any()
    assert "kept" in caplog.text


def line_graph(points: list[float]) -> PairGraph:
    x = torch.tensor(points)
    i, j = torch.triu_indices(len(x), len(x), 1)
    distance = (x[i] - x[j]).abs()
    near = distance < 0.99
    return PairGraph(len(x), i[near], j[near], distance[near], 0.99, torch.zeros(len(x)))


def test_every_sample_trains_under_compact_ids() -> None:
    graph = line_graph([0, 0.01, 0.02, 0.03, 5, 5.01, 5.02, 5.03, 5.52, 9])
    clusterer = SelfPacedDBSCAN(0.5, 0.02)
    clustering = clusterer.cluster(torch.zeros(10, 1), graph)
    assert (clustering.labels >= 0).all()
    assert sorted(set(clustering.labels.tolist())) == list(range(clustering.num_clusters))
    assert clustering.labels[9] not in clustering.labels[:9]
    assert clustering.extras["released"].dtype == torch.bool and clustering.extras["clusters"] == 2
    assert clustering.eps == 0.5


def test_the_threshold_of_the_first_round_stays_and_survives_a_resume() -> None:
    cfg = get_cfg()
    cfg.CLUSTER.EPS, cfg.CLUSTER.EPS_GAP = 0.5, 0.02
    clusterer = SelfPacedDBSCAN.from_config(cfg)
    assert clusterer.radius == pytest.approx(0.52) and clusterer.state_dict() == {"threshold": None}
    clusterer.cluster(torch.zeros(8, 1), line_graph([0, 0.01, 0.02, 0.03, 5, 5.01, 5.02, 5.03]))
    assert clusterer.threshold == 0
    resumed = SelfPacedDBSCAN.from_config(cfg)
    resumed.load_state_dict(clusterer.state_dict())
    # Here the loose radius adds a member: independence 0.2 > 0, so the whole cluster is released.
    later = line_graph([0, 0.01, 0.02, 0.03, 0.54])
    assert resumed.cluster(torch.zeros(5, 1), later).num_clusters == 5
    assert SelfPacedDBSCAN.from_config(cfg).cluster(torch.zeros(5, 1), later).num_clusters < 5
