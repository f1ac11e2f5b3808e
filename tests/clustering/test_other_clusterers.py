"""Infomap and scikit-learn's clusterers on the pair graph."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from unreid.clustering.infomap import Infomap
from unreid.clustering.sklearn_adapter import SklearnClusterer, parse_arguments
from unreid.neighbors import jaccard_graph
from unreid.structures import PairGraph
from unreid.utils.errors import UserError

GROUPS, SIZE, STRAYS = 12, 10, 15


@pytest.fixture(scope="module")
def world() -> tuple[Tensor, Tensor, PairGraph]:
    """Tight groups and strays: features, true groups (-1 for strays), Jaccard graph."""
    generator = torch.Generator().manual_seed(0)
    centres = normalize(torch.randn(GROUPS, 48, generator=generator), dim=1)
    truth = torch.arange(GROUPS).repeat_interleave(SIZE)
    members = normalize(centres[truth] + 0.05 * torch.randn(len(truth), 48, generator=generator), dim=1)
    strays = normalize(torch.randn(STRAYS, 48, generator=generator), dim=1)
    features = torch.cat([members, strays])
    return features, torch.cat([truth, torch.full((STRAYS,), -1)]), jaccard_graph(features, k1=10, radius=0.7)


def same_partition(labels: Tensor, truth: Tensor) -> bool:
    """Whether the true members are grouped exactly as the truth groups them."""
    inside = truth >= 0
    one, other = labels[inside], truth[inside]
    return bool(((one[:, None] == one) == (other[:, None] == other)).all()) and bool((one >= 0).all())


def test_infomap_finds_the_groups_and_leaves_strays_out(world: tuple[Tensor, Tensor, PairGraph]) -> None:
    features, truth, graph = world
    found = Infomap(0.6).cluster(features, graph)
    assert same_partition(found.labels, truth)
    assert found.num_outliers > 0 and (found.labels[truth < 0] < 0).sum() == found.num_outliers
    again = Infomap(0.6).cluster(features, graph)
    assert torch.equal(found.labels, again.labels)


@pytest.mark.parametrize("least", [2, 3, 4, 6])
def test_infomap_makes_outliers_of_small_communities(least: int) -> None:
    """Cliques of two to five samples, and two samples without a link."""
    truth = torch.cat([torch.tensor([2, 3, 4, 5]).repeat_interleave(torch.tensor([2, 3, 4, 5])), torch.tensor([0, 1])])
    i, j = ((truth[:, None] == truth) & torch.ones(16, 16).triu(1).bool()).nonzero(as_tuple=True)
    graph = PairGraph(16, i, j, torch.full((len(i),), 0.2), 0.7, torch.zeros(16))
    found = Infomap(0.6, least).cluster(torch.zeros(16, 2), graph)
    assert torch.equal(found.labels >= 0, truth >= least) and found.num_clusters == (6 - least if least < 6 else 0)
    assert same_partition(found.labels, torch.where(truth >= least, truth, -1))


def test_infomap_without_a_link_finds_nothing(world: tuple[Tensor, Tensor, PairGraph]) -> None:
    features, _, graph = world
    unlinked = PairGraph(graph.n, graph.i[:0], graph.j[:0], graph.dist[:0], 0.7, graph.self_dist)
    empty = Infomap(0.6).cluster(features, unlinked)
    assert empty.num_clusters == 0 and empty.num_outliers == len(features)


@pytest.mark.parametrize(
    ("name", "arguments", "reads"),
    [
        ("HDBSCAN", {"min_cluster_size": 4}, "graph"),
        ("DBSCAN", {"min_samples": 4}, "graph"),
        ("OPTICS", {"min_samples": 4, "cluster_method": "dbscan"}, "graph"),
        ("AgglomerativeClustering", {"n_clusters": None, "distance_threshold": 1.0}, "connectivity"),
        ("Birch", {"n_clusters": None, "threshold": 0.4}, "features"),
    ],
)
def test_scikit_learn_by_name(
    world: tuple[Tensor, Tensor, PairGraph], name: str, arguments: dict[str, object], reads: str
) -> None:
    features, truth, graph = world
    clusterer = SklearnClusterer(name, arguments, eps=0.6)
    assert clusterer.input == reads and (clusterer.radius is None) == (reads == "features")
    found = clusterer.cluster(features, graph, seed=3)
    assert same_partition(found.labels, truth)
    assert torch.equal(found.labels, clusterer.cluster(features, graph, seed=3).labels)


def test_wrong_names_and_arguments_get_one_sentence(world: tuple[Tensor, Tensor, PairGraph]) -> None:
    features, _, graph = world
    with pytest.raises(UserError, match="Did you mean sklearn/HDBSCAN"):
        SklearnClusterer("HDBSCANN")
    with pytest.raises(UserError, match="did you mean min_cluster_size"):
        SklearnClusterer("HDBSCAN", {"min_cluster_siz": 3})
    with pytest.raises(UserError, match="takes no graph"):
        SklearnClusterer("KMeans", input="graph")
    with pytest.raises(UserError, match="got none: build it"):
        SklearnClusterer("HDBSCAN").cluster(features, None)
    with pytest.raises(UserError, match="refuses"):
        SklearnClusterer("KMeans", {"n_clusters": 10_000}).cluster(features, graph)
    with pytest.raises(UserError, match="min_cluster_size=5"):
        parse_arguments(["min_cluster_size"])


def test_arguments_are_literals_or_text() -> None:
    assert parse_arguments(["a=3", "b=0.5", "c=None", "d=average", "e=(1, 2)"]) == {
        "a": 3,
        "b": 0.5,
        "c": None,
        "d": "average",
        "e": (1, 2),
    }


def test_a_missing_infomap_is_one_sentence(
    world: tuple[Tensor, Tensor, PairGraph], monkeypatch: pytest.MonkeyPatch
) -> None:
    features, _, graph = world
    monkeypatch.setitem(sys.modules, "infomap", None)
    with pytest.raises(UserError, match=r"CLUSTER\.NAME Infomap needs .* pip install 'unreid\[infomap\]'"):
        Infomap(0.6).cluster(features, graph)


@pytest.mark.parametrize("seed", [3, 4, 6])
def test_hdbscan_takes_pairs_at_distance_zero(seed: int) -> None:
    """Query expansion makes images of one tight group alike; scikit-learn drops links of length 0."""
    generator = torch.Generator().manual_seed(seed)
    centres, noise = (torch.randn(n, 6, generator=generator) for n in (30, 300))
    features = normalize(centres[torch.arange(300) % 30] + (0.3, 0.6, 1.0)[seed % 3] * noise, dim=1)
    graph = jaccard_graph(features, k1=20, radius=0.5)
    assert (graph.dist == 0).any()
    found = SklearnClusterer("HDBSCAN", eps=0.5).cluster(features, graph)
    assert found.num_clusters > 1
