"""What every clusterer says when its input is missing or does not reach far enough; defaults that fit each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from unreid.clustering import (
    DBSCAN,
    HDC,
    AgreementDBSCAN,
    BottomUp,
    Clusterer,
    ConstrainedDBSCAN,
    FollowAnswers,
    KMeans,
    PerCameraDBSCAN,
    ScheduledClusterer,
    SelfPacedDBSCAN,
    SizeFilter,
)
from unreid.clustering.base import CLUSTERERS
from unreid.clustering.bottom_up import BottomUpPartition
from unreid.clustering.infomap import Infomap
from unreid.clustering.sklearn_adapter import SklearnClusterer
from unreid.constraints import Answers
from unreid.constraints.links import Links
from unreid.neighbors import jaccard_graph

N = 60
ANSWERS = Answers(
    N, np.array([[0, 1]]), np.array([[0, 4]]), np.array([True]), np.array([True]), noise=np.array([N - 1])
)
NOTHING = Links.from_pairs(np.empty(0, np.int64), np.empty(0, np.int64), (N, N))
ON_GRAPHS = {
    "DBSCAN": lambda: DBSCAN(),
    "adaptive": lambda: DBSCAN(adaptive=True, rho=0.05),
    "AgreementDBSCAN": lambda: AgreementDBSCAN(),
    "SelfPacedDBSCAN": lambda: SelfPacedDBSCAN(),
    "ConstrainedDBSCAN": lambda: ConstrainedDBSCAN(links=NOTHING),
    "relaxed": lambda: ConstrainedDBSCAN(links=NOTHING, relaxed=-1.5),
    "HDC": lambda: HDC(4),
    "Infomap": lambda: Infomap(),
    "sklearn, graph": lambda: SklearnClusterer("DBSCAN"),
    "sklearn, connectivity": lambda: SklearnClusterer("AgglomerativeClustering", {"n_clusters": 4}),
    "SizeFilter": lambda: SizeFilter(DBSCAN(), 3),
    "FollowAnswers": lambda: FollowAnswers(DBSCAN(), ANSWERS),
    "ScheduledClusterer": lambda: ScheduledClusterer([(0, SelfPacedDBSCAN()), (5, KMeans(4))]),
}
ON_FEATURES = {
    "KMeans": lambda: KMeans(4),
    "BottomUp": lambda: BottomUp(4),
    "sklearn": lambda: SklearnClusterer("MiniBatchKMeans", {"n_clusters": 4}),
    "sklearn, connectivity": lambda: SklearnClusterer("AgglomerativeClustering", {"n_clusters": 4}),
    "HDC": lambda: HDC(4, use_jaccard=False),
    "HDC, both": lambda: HDC(4),
    "PerCameraDBSCAN": lambda: PerCameraDBSCAN(),
    "FollowAnswers": lambda: FollowAnswers(KMeans(4), ANSWERS),
}


def features() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(4, 16, generator=generator)
    return normalize(centres[torch.arange(N) % 4] + 0.3 * torch.randn(N, 16, generator=generator), dim=1)


def test_every_clusterer_is_asked() -> None:
    kinds = {type(make()) for make in (*ON_GRAPHS.values(), *ON_FEATURES.values())}
    ours = {CLUSTERERS.get(name) for name in CLUSTERERS}  # and those of plug-ins, where other tests ran before
    assert {kind for kind in ours if kind.__module__.startswith("unreid.")} <= kinds


@pytest.mark.parametrize("name", ON_GRAPHS)
def test_a_missing_graph_is_named_with_the_way_to_one(name: str) -> None:
    clusterer = ON_GRAPHS[name]()
    with pytest.raises(ValueError, match=r"got none: build it with unreid\.neighbors\.jaccard_graph\(features, rad"):
        clusterer.cluster(features(), None)


@pytest.mark.parametrize("name", [name for name in ON_GRAPHS if name not in ("adaptive", "relaxed")])
def test_a_graph_that_ends_too_early_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"looks up to distance 0\.\d+, but the graph ends at 0\.3"):
        ON_GRAPHS[name]().cluster(features(), jaccard_graph(features(), k1=15, k2=4, radius=0.3))


@pytest.mark.parametrize("name", ON_GRAPHS)
def test_the_default_graph_fits_every_default_clusterer(name: str) -> None:
    graph = jaccard_graph(features(), k1=15, k2=4)
    clusterer: Clusterer = ON_GRAPHS[name]()
    found = clusterer.cluster(features(), graph)
    own = ON_GRAPHS[name]().cluster(features(), jaccard_graph(features(), k1=15, k2=4, radius=clusterer.radius))
    assert torch.equal(found.labels, own.labels) and found.num_clusters >= 2


def test_the_default_graph_reaches_as_far_as_any_radius() -> None:
    """Also one that a user sets well beyond the default."""
    far = DBSCAN(eps=0.99).cluster(features(), jaccard_graph(features(), k1=15, k2=4))
    assert torch.equal(
        far.labels, DBSCAN(eps=0.99).cluster(features(), jaccard_graph(features(), k1=15, k2=4, radius=0.995)).labels
    )


@pytest.mark.parametrize("name", ON_FEATURES)
@pytest.mark.parametrize("wrong", [None, torch.arange(4), torch.zeros(4), "text"])
def test_missing_features_are_named(name: str, wrong: object) -> None:
    with pytest.raises(ValueError, match=r"features must be numbers of shape \(N, D\), not"):
        ON_FEATURES[name]().cluster(wrong, jaccard_graph(features(), k1=15, k2=4))  # type: ignore[arg-type]


def test_a_graph_of_other_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="of 60 samples and there are 50 features"):
        HDC(4).cluster(features()[:50], jaccard_graph(features(), k1=15, k2=4))


def test_a_merge_without_features_is_refused() -> None:
    with pytest.raises(ValueError, match="features must be numbers"):
        BottomUpPartition(4).merge(None)  # type: ignore[arg-type]
