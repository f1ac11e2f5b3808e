"""Constrained DBSCAN against the published procedure written with sets, and its promises."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unreid.clustering import build_clusterer, inner_clusterers
from unreid.clustering.base import Clusterer
from unreid.clustering.constrained_dbscan import ConstrainedDBSCAN
from unreid.clustering.constrained_growth import neighbour_lists
from unreid.clustering.dbscan import DBSCAN
from unreid.clustering.scheduled import ScheduledClusterer
from unreid.clustering.size_filter import SizeFilter
from unreid.config import get_cfg
from unreid.constraints.links import Links
from unreid.structures import PairGraph
from unreid.utils.errors import UserError


class Slow:
    """AuxUSL's published procedure, sample by sample, on dense distances and sets."""

    def __init__(self, links: list[set[int]], relaxed: float, mode: str) -> None:
        self.links, self.relaxed, self.mode = links, relaxed, mode

    def fit(self, dist: np.ndarray, eps: float, min_samples: int) -> list[int]:
        count = len(dist)
        links = self.links if self.mode == "ordered" else [set(row) for row in self.links]
        for i, row in enumerate(links):
            for j in list(row):
                near = dist[i, j] <= eps * abs(self.relaxed)
                if j == i or (near if self.relaxed >= 0 else not near):
                    row.remove(j)
        near_of = [{j for j in range(count) if dist[i, j] <= eps} | {i} for i in range(count)]
        labels, number = [-1] * count, 0
        for p in range(count):
            if labels[p] != -1:
                continue
            forbidden = links[p] if self.mode == "ordered" else set(links[p])
            members, pending = [p], {p}
            labels[p] = number
            while pending:
                q = min(pending)
                candidates = near_of[q] - links[q] - forbidden
                if len(candidates) >= min_samples:
                    for w in sorted(candidates):
                        if labels[w] == -1 and w not in forbidden:
                            labels[w] = number
                            members.append(w)
                            forbidden |= links[w]
                            pending.add(w)
                pending.remove(q)
            if len(members) < min_samples:
                for member in members:
                    labels[member] = -1
            else:
                number += 1
        return labels


def problem(seed: int, count: int, density: float) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric distances of a few blobs, on a coarse grid so that ties occur, and symmetric cannot-links."""
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 3, size=(count, 1)) + 0.25 * rng.standard_normal((count, 2))
    dist = np.round(np.linalg.norm(points[:, None] - points[None], axis=2), 1).astype(np.float32)
    links = np.triu(rng.random((count, count)) < density, 1)
    return dist, links | links.T


def graph_of(dist: np.ndarray) -> PairGraph:
    i, j = np.triu_indices(len(dist), 1)
    values = torch.from_numpy(dist[i, j])
    return PairGraph(len(dist), torch.from_numpy(i), torch.from_numpy(j), values, 1e3, torch.zeros(len(dist)))


def sparse(links: np.ndarray) -> Links:
    return Links.from_pairs(*np.nonzero(links), links.shape)


def labels_of(clusterer: Clusterer, dist: np.ndarray) -> list[int]:
    return clusterer.cluster(torch.empty(0), graph_of(dist)).labels.tolist()


@given(
    st.integers(0, 10_000),
    st.integers(1, 40),
    st.sampled_from([0.0, 0.02, 0.1, 0.4]),
    st.sampled_from([-1.5, -1.0, -0.5, 0.0, 0.5, 1.0]),
    st.sampled_from(["clean", "ordered"]),
)
def test_equals_the_procedure_with_sets_over_two_fits(
    seed: int, count: int, density: float, relaxed: float, mode: str
) -> None:
    dist, links = problem(seed, count, density)
    slow = Slow([set(np.flatnonzero(row).tolist()) for row in links], relaxed, mode)
    fast = ConstrainedDBSCAN(0.35, 3, links=sparse(links), relaxed=relaxed, mode=mode, tol=0.0)
    for fit in (dist, problem(seed + 1, count, 0)[0]):
        assert labels_of(fast, fit) == slow.fit(fit, 0.35, 3)


@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.3]))
def test_no_cluster_holds_a_cannot_link(seed: int, density: float) -> None:
    dist, links = problem(seed, 40, density)
    labels = np.array(labels_of(ConstrainedDBSCAN(0.4, 3, links=sparse(links), relaxed=-1.0, tol=0.0), dist))
    near = links & (dist <= 0.4)  # relaxed -1 keeps the links of near pairs
    same = (labels[:, None] == labels) & (labels >= 0)[:, None]
    assert not (same & near & (np.add.outer(labels, labels) >= 0)).any()


def test_clean_rounds_do_not_depend_on_earlier_rounds_and_ordered_ones_do() -> None:
    first, second = problem(3, 60, 0.3)[0], problem(4, 60, 0)[0]
    links = sparse(problem(3, 60, 0.3)[1])
    fresh = labels_of(ConstrainedDBSCAN(0.4, 3, links=links), second)
    clean = ConstrainedDBSCAN(0.4, 3, links=links)
    labels_of(clean, first)
    assert labels_of(clean, second) == fresh
    ordered = ConstrainedDBSCAN(0.4, 3, links=links, mode="ordered")
    labels_of(ordered, first)
    resumed = ConstrainedDBSCAN(0.4, 3, links=links, mode="ordered")
    resumed.load_state_dict(ordered.state_dict())
    assert ordered.links is not None and len(ordered.links.index) != len(links.index)
    assert labels_of(ordered, second) == labels_of(resumed, second)


def test_without_links_it_is_dbscan_on_separated_groups() -> None:
    points = np.repeat([0.0, 10.0, 20.0], 6) + 0.01 * np.arange(18)
    dist = np.abs(points[:, None] - points).astype(np.float32)
    none = Links.from_pairs(np.empty(0, np.int64), np.empty(0, np.int64), (18, 18))
    assert labels_of(ConstrainedDBSCAN(0.5, links=none), dist) == labels_of(DBSCAN(0.5), dist)


def test_a_tie_at_eps_is_decided_by_the_tolerance() -> None:
    dist = np.full((4, 4), 0.5 + 2e-7, dtype=np.float32)
    np.fill_diagonal(dist, 0)
    none = Links.from_pairs(np.empty(0, np.int64), np.empty(0, np.int64), (4, 4))
    assert labels_of(ConstrainedDBSCAN(0.5, links=none), dist) == [0, 0, 0, 0]
    assert labels_of(ConstrainedDBSCAN(0.5, links=none, tol=0.0), dist) == [-1] * 4


def test_missing_or_foreign_links_and_too_wide_relaxation_are_named() -> None:
    dist, links = problem(0, 10, 0.2)
    with pytest.raises(UserError, match="has no cannot-links.*unreid mine"):
        labels_of(ConstrainedDBSCAN(0.4), dist)
    with pytest.raises(UserError, match="of 9 samples, the training list has 10"):
        labels_of(ConstrainedDBSCAN(0.4, links=sparse(links[:9, :9])), dist)
    narrow = graph_of(dist)
    narrow.radius = 0.4
    with pytest.raises(UserError, match="ICDBSCAN_RELAXED 2.0"):
        ConstrainedDBSCAN(0.4, links=sparse(links), relaxed=2.0).cluster(torch.empty(0), narrow)
    with pytest.raises(ValueError, match="not 'loose'"):
        ConstrainedDBSCAN(mode="loose")
    assert ConstrainedDBSCAN(0.4, relaxed=-1.5).radius == pytest.approx(0.6)


def test_the_config_switch_chooses_it_and_composition_does_not_hide_it() -> None:
    cfg = get_cfg()
    assert not any(isinstance(part, ConstrainedDBSCAN) for part in inner_clusterers(build_clusterer(cfg)))
    cfg.CLUSTER.ICDBSCAN_OPTION = True
    cfg.CLUSTER.ICDBSCAN_RELAXED = -1.0
    built = build_clusterer(cfg)
    assert isinstance(built, ConstrainedDBSCAN) and built.relaxed == -1.0 and built.mode == "clean"
    first, inner = DBSCAN(), ConstrainedDBSCAN()
    assert list(inner_clusterers(ScheduledClusterer([(0, first), (5, SizeFilter(inner, 3))]))) == [first, inner]


def test_ten_thousand_samples_take_seconds() -> None:
    rng = np.random.default_rng(0)
    count, reach, links = 10_000, 40, 200_000
    i = np.repeat(np.arange(count), reach)
    j = i + np.tile(np.arange(1, reach + 1), count)
    i, j = i[j < count], j[j < count]
    dist = np.where(i // 17 == j // 17, 0.3, 0.55).astype(np.float32) + 0.1 * rng.random(len(i), dtype=np.float32)
    pairs = torch.from_numpy(i), torch.from_numpy(j), torch.from_numpy(dist)
    graph = PairGraph(count, *pairs, radius=1.0, self_dist=torch.zeros(count))
    first, second = rng.integers(0, count, (2, links))
    both = np.concatenate((first, second)), np.concatenate((second, first))
    start = time.process_time()
    found = ConstrainedDBSCAN(0.6, links=Links.from_pairs(*both, (count, count))).cluster(torch.empty(0), graph)
    assert len(graph) > 300_000 and found.num_clusters > 10
    assert time.process_time() - start < 10


def test_neighbour_lists_hold_self_and_both_directions() -> None:
    graph = PairGraph(3, torch.tensor([0]), torch.tensor([2]), torch.tensor([0.1]), 0.5, torch.zeros(3))
    start, index = neighbour_lists(graph, 0.5)
    assert start.tolist() == [0, 2, 3, 5] and index.tolist() == [0, 2, 1, 0, 2]
