"""k-means: a fixed point of Lloyd's iteration, seeded, with normalised centroids."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from unreid.clustering import KMeans
from unreid.config import get_cfg
from unreid.utils.errors import UserError


def blobs(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    owner = torch.arange(12).repeat_interleave(15)
    centers = 4 * torch.randn(12, 8, generator=generator)
    return centers[owner] + 0.2 * torch.randn(180, 8, generator=generator), owner


@pytest.mark.parametrize("library", ["faiss", "sklearn"])
def test_clear_groups_are_found_and_centroids_are_their_normalised_means(library: str) -> None:
    x, owner = blobs()
    clustering = KMeans(12, library=library).cluster(x, None, seed=1)
    assert clustering.num_clusters == 12 and clustering.num_outliers == 0 and clustering.labels.dtype == torch.int64
    assert len(torch.unique(torch.stack([clustering.labels, owner]), dim=1).T) == 12
    means = torch.stack([x[clustering.labels == c].mean(0) for c in range(12)])
    torch.testing.assert_close(clustering.centroids, normalize(means, dim=1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("library", ["faiss", "sklearn"])
def test_seed_and_round_decide_alone(library: str) -> None:
    x = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    clusterer = KMeans(20, library=library)
    labels = [clusterer.cluster(x, None, round=r, seed=s).labels for r, s in ((0, 0), (0, 0), (1, 0), (0, 1))]
    assert torch.equal(labels[0], labels[1])
    assert not torch.equal(labels[0], labels[2]) and not torch.equal(labels[0], labels[3])


def test_it_needs_no_graph_and_reads_the_number_of_clusters() -> None:
    cfg = get_cfg()
    cfg.CLUSTER.NUM_CLUSTERS = 7
    clusterer = KMeans.from_config(cfg)
    assert clusterer.num_clusters == 7 and clusterer.radius is None


def test_duplicates_leave_no_holes_in_the_labels() -> None:
    x = torch.eye(4).repeat(5, 1)
    clustering = KMeans(6, library="sklearn").cluster(x, None)
    assert sorted(set(clustering.labels.tolist())) == list(range(clustering.num_clusters))
    assert len(clustering.centroids) == clustering.num_clusters


def test_too_few_samples_and_unknown_libraries_are_refused() -> None:
    with pytest.raises(UserError, match="NUM_CLUSTERS 750"):
        KMeans(750).cluster(torch.zeros(10, 2), None)
    with pytest.raises(ValueError, match="sklearn"):
        KMeans(library="scipy")
