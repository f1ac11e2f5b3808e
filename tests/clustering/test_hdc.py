"""HDC behind the interface of the clusterers."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import needs_cuda
from unreid.clustering import CLUSTERERS, build_clusterer, hdc
from unreid.clustering.hdc.clusterer import HDC
from unreid.config import get_cfg
from unreid.neighbors.jaccard import jaccard_graph
from unreid.structures import PairGraph
from unreid.utils.errors import UserError

from .test_hdc_fit import blobs


def graph_of(x: torch.Tensor, clusterer: HDC) -> PairGraph:
    assert clusterer.radius is not None
    return jaccard_graph(x, k1=8, k2=3, k1_includes_self=False, radius=clusterer.radius)


def test_groups_are_found_on_the_jaccard_graph() -> None:
    x, truth = blobs([9, 12, 10, 8, 11], 32, 0.5, seed=1)
    clusterer = HDC(5)
    found = clusterer.cluster(x, graph_of(x, clusterer), round=2, seed=3)
    assert found.num_clusters == 5 and found.labels.device.type == "cpu"
    inner = found.labels >= 0
    assert int(inner.sum()) == 50 - found.extras["peripheral"] == 50 - found.num_outliers
    pairs = (found.labels[:, None] == found.labels) == (truth[:, None] == truth)
    assert bool(pairs[inner][:, inner].all())
    assert found.centroids is not None
    means = torch.stack([x[found.labels == j].mean(0) for j in range(5)])
    torch.testing.assert_close(found.centroids, torch.nn.functional.normalize(means, dim=1))


def test_the_same_seed_and_round_give_the_same_labels() -> None:
    x, _ = blobs([7] * 9, 16, 1.5, seed=2)
    clusterer = HDC(9, use_jaccard=False)
    assert clusterer.radius is None
    first, again = (clusterer.cluster(x, None, round=4, seed=5) for _ in range(2))
    assert torch.equal(first.labels, again.labels)
    others = [clusterer.cluster(x, None, round=4 + i, seed=5 + j).labels for i, j in ((1, 0), (0, 1))]
    assert not all(torch.equal(first.labels, labels) for labels in others)


def test_without_outliers_every_sample_has_a_label_and_centroids_stay_the_inner_means() -> None:
    x, _ = blobs([10] * 4, 16, 1.0, seed=3)
    inner = HDC(4, use_jaccard=False).cluster(x, None)
    every = HDC(4, use_jaccard=False, outlier=False).cluster(x, None)
    assert inner.num_outliers > 0 and every.num_outliers == 0
    assert every.extras["peripheral"] == inner.num_outliers
    assert torch.equal(inner.centroids, every.centroids)
    assert HDC(4, use_jaccard=False, use_centroids=False).cluster(x, None).centroids is None


def test_the_features_and_the_graph_are_left_alone() -> None:
    x, _ = blobs([10] * 4, 16, 1.0, seed=4)
    clusterer = HDC(4)
    graph = graph_of(x, clusterer)
    kept, dist = x.clone(), graph.dist.clone()
    clusterer.cluster(x, graph)
    assert torch.equal(x, kept) and torch.equal(graph.dist, dist)


def test_from_config_reads_every_key() -> None:
    cfg = get_cfg()
    cfg.CLUSTER.NAME = "HDC"
    cfg.CLUSTER.NUM_CLUSTERS = 12
    node = cfg.CLUSTER.HDC
    node.INIT, node.SIMILARITY, node.OUTLIER = "k-means++", "cosine", False
    node.USE_CENTROIDS, node.USE_JACCARD, node.NORMALIZE_CENTROID = False, False, True
    node.MAX_ITER, node.THRESHOLD = 5, 0.25
    clusterer = build_clusterer(cfg)
    assert isinstance(clusterer, HDC)
    assert (clusterer.num_clusters, clusterer.init, clusterer.outlier) == (12, "k-means++", False)
    assert not clusterer.use_centroids and not clusterer.use_jaccard
    assert clusterer.options == hdc.HDCOptions("cosine", max_iter=5, threshold=0.25, normalize_centroid=True)
    cfg.CLUSTER.HDC.THRESHOLD = 0.0
    assert HDC.from_config(cfg).options.threshold is None
    assert CLUSTERERS.get("hdc") is HDC


def test_mistakes_are_named() -> None:
    x, _ = blobs([3], 8, 1.0, seed=5)
    with pytest.raises(UserError, match="lower CLUSTER.NUM_CLUSTERS"):
        HDC(4, use_jaccard=False).cluster(x, None)
    with pytest.raises(ValueError, match="pair graph"):
        HDC(2).cluster(x, None)
    with pytest.raises(ValueError, match="init"):
        HDC(2, init="first")


@needs_cuda
@pytest.mark.parametrize("use_jaccard", [True, False])
def test_cuda_clusters_like_cpu(use_jaccard: bool) -> None:
    x, _ = blobs([20] * 10, 64, 0.8, seed=6)
    clusterer = HDC(10, use_jaccard=use_jaccard)
    graph = graph_of(x, clusterer) if use_jaccard else None
    on_cpu, on_cuda = clusterer.cluster(x, graph), clusterer.cluster(x.cuda(), graph)
    assert torch.equal(on_cpu.labels, on_cuda.labels)
