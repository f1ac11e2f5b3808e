"""Clusters of each camera, and which of them are joined."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from unreid.clustering import PerCameraDBSCAN, build_clusterer
from unreid.clustering.per_camera import mutual_pairs, round_up
from unreid.config import load_config
from unreid.evaluation import cluster_report
from unreid.neighbors import camera_centered
from unreid.utils.errors import InputError, UserError


def people(count: int = 12, each: int = 6, cameras: int = 2, shift: float = 2.0) -> tuple[torch.Tensor, ...]:
    """Features of ``count`` people in every camera, whose style is stronger than their differences."""
    generator = torch.Generator().manual_seed(0)
    person = torch.randn(count, 32, generator=generator)
    style = shift * torch.randn(cameras, 32, generator=generator)
    pids = torch.arange(count).repeat_interleave(each * cameras)
    camids = torch.arange(cameras).repeat_interleave(each).repeat(count)
    noise = 0.2 * torch.randn(len(pids), 32, generator=generator)
    return normalize(person[pids] + style[camids] + noise, dim=1), pids, camids


def test_a_cluster_of_one_camera_is_one_person_and_links_find_the_other_camera() -> None:
    features, pids, camids = people()
    apart = PerCameraDBSCAN(0.5, k1=6, links=0.0).fit(features, camids).clustering_
    assert apart.num_clusters == 24 and apart.extras["links"] == 0
    centred = camera_centered(features, camids)
    joined = PerCameraDBSCAN(0.5, k1=6, links=1.0).fit(centred, camids).clustering_
    report = cluster_report(joined.labels, pids, camids)
    assert report["cross_camera_recall"] > 0.9 and report["pair_precision"] > 0.9
    assert joined.num_clusters == 24 - joined.extras["links"]


def test_no_cluster_holds_two_clusters_of_one_camera() -> None:
    features, _, camids = people(cameras=4, shift=0.5)
    generator = torch.Generator().manual_seed(1)
    features = normalize(features + 0.3 * torch.randn(features.shape, generator=generator), dim=1)
    apart = torch.from_numpy(PerCameraDBSCAN(0.5, k1=6, links=0.0).fit_predict(features, camids))
    joined = torch.from_numpy(PerCameraDBSCAN(0.5, k1=6, links=1.0).fit_predict(features, camids))
    for cluster in joined.unique():
        parts = torch.stack((camids, apart), dim=1)[joined == cluster].unique(dim=0)
        assert cluster < 0 or len(parts) == len(parts[:, 0].unique())


def test_the_surest_links_come_first() -> None:
    one = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.7, 0.714]])
    other = normalize(torch.tensor([[1.0, 0.1, 0.0], [0.0, 1.0, 0.3]]), dim=1)
    pairs, margins = mutual_pairs(torch.cat((one, other)), torch.tensor([0, 0, 0, 1, 1]))
    assert pairs.tolist() == [[0, 3], [1, 4]] and margins[0] > margins[1]
    assert round_up(0.5 * 2) == 1 and round_up(0.5 * 3) == 2 and round_up(0.1 * 3 * 10) == 3


def test_a_single_camera_is_plain_dbscan_and_missing_cameras_are_named() -> None:
    features, pids, _ = people(cameras=1)
    found = PerCameraDBSCAN(0.5, k1=6).fit_predict(features, np.zeros(len(pids), dtype=np.int64))
    assert len(np.unique(found[found >= 0])) == 12
    with pytest.raises(InputError, match="needs the camera of every sample"):
        PerCameraDBSCAN().fit(features)


def test_a_camera_with_one_image_has_an_outlier() -> None:
    features, _, camids = people()
    camids[0] = 5
    assert PerCameraDBSCAN(0.5, k1=6).fit_predict(features, camids)[0] == -1


def test_a_config_builds_it_and_its_graph() -> None:
    cfg = load_config(None, ["CLUSTER.NAME", "PerCameraDBSCAN", "CLUSTER.K1", "6", "CLUSTER.CAMERA_LINKS", "0.5"])
    clusterer = build_clusterer(cfg)
    assert isinstance(clusterer, PerCameraDBSCAN)
    assert (clusterer.links_share, clusterer.graph_builder.k1, clusterer.eps) == (0.5, 6, cfg.CLUSTER.EPS)


def test_ca_jaccard_is_refused() -> None:
    cfg = load_config(None, ["CLUSTER.METRIC", "ca_jaccard"])
    with pytest.raises(UserError, match=r"set CLUSTER\.METRIC jaccard"):
        PerCameraDBSCAN.from_config(cfg)


def test_a_link_is_as_sure_as_the_better_second_choice_of_either_side_leaves_it() -> None:
    """Two pairs: the first has no rival in either camera, the second a near one in the second camera alone."""
    one = normalize(torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]), dim=1)
    other = normalize(torch.tensor([[1.0, 0.0, 0.1, 0.0], [0.0, 1.0, 0.0, 0.1], [0.0, 1.0, 0.0, 0.3]]), dim=1)
    pairs, margins = mutual_pairs(torch.cat((one, other)), torch.tensor([0, 0, 1, 1, 1]))
    assert pairs.tolist() == [[0, 2], [1, 3]]
    similar = one @ other.T
    expected = [similar[0, 0] - max(similar[0, 1], similar[1, 0]), similar[1, 1] - similar[1, 2]]
    assert torch.allclose(margins, torch.stack(expected))


def test_of_a_third_of_the_links_the_surest_is_made() -> None:
    """Person 2 alone has no look-alike in the other camera."""
    person = torch.eye(16)[:3]
    person[1] = normalize(person[0] + 0.8 * torch.eye(16)[3], dim=0)
    pids = torch.arange(3).repeat_interleave(12)
    camids = torch.arange(2).repeat_interleave(6).repeat(3)
    noise = 0.02 * torch.randn(36, 16, generator=torch.Generator().manual_seed(0))
    features = normalize(person[pids] + noise, dim=1)
    found = PerCameraDBSCAN(0.05, 2, links=1 / 3, metric="cosine").fit(features, camids).clustering_
    assert found.num_clusters == 5 and found.extras["links"] == 1
    assert [len(found.labels[pids == one].unique()) for one in range(3)] == [2, 2, 1]
