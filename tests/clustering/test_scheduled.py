"""Switching by round, size filter, and how a config composes clusterers."""

from __future__ import annotations

import pytest
import torch

from unreid.clustering import DBSCAN, KMeans, ScheduledClusterer, SizeFilter, build_clusterer
from unreid.clustering.size_filter import drop_small_clusters
from unreid.config import get_cfg
from unreid.structures import Clustering, PairGraph
from unreid.utils.errors import UserError


def graph() -> PairGraph:
    i, j = torch.triu_indices(12, 12, 1)
    x = torch.arange(12.0)
    distance = (x[i] - x[j]).abs() / 12
    return PairGraph(12, i, j, distance, 0.999, torch.zeros(12))


def test_the_round_chooses_the_clusterer() -> None:
    scheduled = ScheduledClusterer([(0, DBSCAN(0.6)), (10, KMeans(3))])
    assert scheduled.radius == 0.6
    assert scheduled.at(9).radius == 0.6 and scheduled.at(10).radius is None
    x = torch.arange(12.0)[:, None]
    assert scheduled.cluster(x, graph(), round=0).num_clusters == 1
    assert scheduled.cluster(x, None, round=10).num_clusters == 3


def test_state_of_every_stage_is_kept() -> None:
    def build() -> ScheduledClusterer:
        return ScheduledClusterer([(0, DBSCAN(adaptive=True, rho=0.2)), (3, SizeFilter(DBSCAN(0.5), 4))])

    first, second = build(), build()
    first.cluster(torch.zeros(12, 1), graph(), round=1)
    second.load_state_dict(first.state_dict())
    assert second.at(0).radius == first.at(0).radius < 0.999


@pytest.mark.parametrize("starts", [[], [1, 2], [0, 5, 5], [0, 5, 3]])
def test_stages_begin_at_zero_and_ascend(starts: list[int]) -> None:
    with pytest.raises(ValueError, match="ascend"):
        ScheduledClusterer([(start, DBSCAN()) for start in starts])


def test_small_clusters_become_outliers_and_the_rest_is_renumbered() -> None:
    labels = torch.tensor([0, 1, 1, 2, 2, 2, -1, 4, 4, 4])  # nobody bears id 3
    centroids = torch.arange(5.0)[:, None]
    filtered = drop_small_clusters(Clustering(labels, 5, centroids=centroids, core=labels >= 0), 2)
    assert filtered.labels.tolist() == [-1, 0, 0, 1, 1, 1, -1, 2, 2, 2]
    assert filtered.num_clusters == 3 and filtered.centroids.flatten().tolist() == [1.0, 2.0, 4.0]
    nothing = drop_small_clusters(Clustering(labels, 5), 9)
    assert nothing.num_clusters == 0 and (nothing.labels == -1).all()
    outliers = drop_small_clusters(Clustering(torch.full((3,), -1), 0), 4)
    assert outliers.num_clusters == 0 and outliers.labels.tolist() == [-1, -1, -1]


def test_a_filtered_clusterer_keeps_radius_and_state() -> None:
    inner = DBSCAN(adaptive=True)
    inner.fixed = 0.4
    outer = SizeFilter(inner, 4)
    assert outer.radius == 0.4 and outer.state_dict() == inner.state_dict()
    other = SizeFilter(DBSCAN(adaptive=True), 4)
    other.load_state_dict(outer.state_dict())
    assert other.radius == 0.4


def test_the_config_composes_warmup_filter_and_clusterer() -> None:
    cfg = get_cfg()
    assert isinstance(build_clusterer(cfg), DBSCAN)
    cfg.CLUSTER.NAME, cfg.CLUSTER.MIN_SIZE, cfg.CLUSTER.NUM_CLUSTERS = "k-means", 4, 2
    cfg.CLUSTER.WARMUP.NAME, cfg.CLUSTER.WARMUP.ROUNDS = "dbscan", 10
    clusterer = build_clusterer(cfg)
    assert isinstance(clusterer.at(9), DBSCAN) and isinstance(clusterer.at(10), SizeFilter)
    assert isinstance(clusterer.at(10).clusterer, KMeans)
    cfg.CLUSTER.NAME = "OPTICS"
    with pytest.raises(UserError, match="DBSCAN"):
        build_clusterer(cfg)
