"""TOC, SCP and STS under every method: what is clustered changes, and no cluster holds a cannot-link."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.engine.stored import load_run
from tests.methods.conftest import MakeConfig
from tests.methods.test_auxusl import auxusl
from tests.methods.toys import DIM, toy_method
from unreid.clustering import KeepApart, inner_clusterers, keep_apart
from unreid.constraints import DenseRelation, Links, Modifier, Penalty, SpatioTemporalFactor, TrainConstraints
from unreid.constraints.relations import SameCamera
from unreid.engine.run import run
from unreid.methods import Method
from unreid.neighbors import jaccard_distance
from unreid.structures import Clustering
from unreid.utils.errors import UserError

N = 48
CAMIDS = torch.arange(N) % 2
SMALL = ("CLUSTER.K1", 12, "CLUSTER.K2", 2, "CLUSTER.MIN_SAMPLES", 4, "CLUSTER.NUM_CLUSTERS", 4, "SEED", 1)
EMA = ("MODEL.EMA.ENABLED", True)
DIVERSE = ("MEMORY.NAME", "DiversityMemory", "MEMORY.UPDATE", "v5", *EMA)
ROWS = ("MEMORY.NAME", "HybridMemory", "DATALOADER.SAMPLER.SINGLETON", "emit")

GRAPH_METHODS: dict[str, tuple[Any, ...]] = {
    "Cluster Contrast": ("METHOD.NAME", "ClusterContrast"),
    "Cluster Contrast, adaptive": ("METHOD.NAME", "ClusterContrast", "CLUSTER.ADAPTIVE", True, "CLUSTER.RHO", 0.3),
    "ISE": ("METHOD.NAME", "ISE"),
    "CDSM": ("METHOD.NAME", "CDSM", "CLUSTER.NAME", "AgreementDBSCAN", *DIVERSE),
    "SpCL": ("METHOD.NAME", "SpCL", "CLUSTER.NAME", "SelfPacedDBSCAN", *ROWS),
    "3C, DBSCAN": ("METHOD.NAME", "CCC"),
    "3C, HDC": ("METHOD.NAME", "CCC", "CLUSTER.NAME", "HDC", "CLUSTER.MIN_SIZE", 2),
}
FEATURE_METHODS: dict[str, tuple[Any, ...]] = {
    "3C, k-means": ("METHOD.NAME", "CCC", "CLUSTER.NAME", "KMeans"),
    "3C, bottom-up": ("METHOD.NAME", "CCC", "CLUSTER.NAME", "BottomUp"),
}


def groups(spread: float = 0.5) -> Tensor:
    """Unit features of four groups."""
    generator = torch.Generator().manual_seed(3)
    centres = torch.randn(4, DIM, generator=generator)
    noise = spread * torch.randn(N, DIM, generator=generator)
    return F.normalize(centres[torch.arange(N) // 12] + noise, dim=1)


def built(overrides: tuple[Any, ...]) -> Method:
    return toy_method(*SMALL, *overrides, camids=CAMIDS)


def labels_of(method: Method) -> np.ndarray:
    return method.cluster(groups(), 0).labels.numpy()


def inside(labels: np.ndarray, links: Links) -> int:
    rows, columns = links.rows(), links.index
    return int(((labels[rows] == labels[columns]) & (labels[rows] >= 0)).sum())


def links_in(labels: np.ndarray) -> Links:
    """Every third pair of samples that now share a label."""
    i, j = np.nonzero(np.triu((labels[:, None] == labels) & (labels >= 0)[:, None], 1))
    return Links.symmetric(np.stack((i, j), 1)[::3], N)


@pytest.mark.parametrize("name", [*GRAPH_METHODS, *FEATURE_METHODS])
def test_cannot_links_hold_in_every_cluster(name: str) -> None:
    overrides = ("CLUSTER.ICDBSCAN_OPTION", True, "CLUSTER.ICDBSCAN_RELAXED", 0.0)
    plain = labels_of(built({**GRAPH_METHODS, **FEATURE_METHODS}[name]))
    links = links_in(plain)
    assert inside(plain, links) > 20
    method = built(({**GRAPH_METHODS, **FEATURE_METHODS}[name]) + overrides)
    method.constrain(TrainConstraints((), links))
    found = labels_of(method)
    assert inside(found, links) == 0
    assert len(np.unique(found[found >= 0])) >= 2


def test_links_reach_the_clusterers_of_all_rounds() -> None:
    method = built((*FEATURE_METHODS["3C, k-means"], "CLUSTER.WARMUP.NAME", "DBSCAN", "CLUSTER.WARMUP.ROUNDS", 2))
    links = Links.symmetric([(0, 1)], N)
    method.constrain(TrainConstraints((), links))
    assert method.clusterer is not None
    first, second = (method.clusterer.at(round) for round in (0, 2))
    assert first.links is links and isinstance(second, KeepApart) and second.links is links
    assert [type(part).__name__ for part in inner_clusterers(method.clusterer)] == ["DBSCAN", "KMeans"]


def same_camera_modifier(penalty: float) -> Modifier:
    return Penalty(SameCamera(CAMIDS.numpy(), CAMIDS.numpy()), penalty)


def noisy_modifier() -> Modifier:
    matrix = np.random.default_rng(0).random((N, N), dtype=np.float32)
    return SpatioTemporalFactor(DenseRelation(np.minimum(matrix, matrix.T)), 100.0, 8.0)


@pytest.mark.parametrize("modifier", [same_camera_modifier(0.5), noisy_modifier()], ids=["SCP", "STS"])
@pytest.mark.parametrize("name", [name for name in GRAPH_METHODS if "adaptive" not in name])
def test_scp_and_sts_change_what_is_clustered(name: str, modifier: Modifier) -> None:
    dense = (*GRAPH_METHODS[name], "CLUSTER.MIN_SAMPLES", 8)  # five of the eleven others come from the same camera
    method = built(dense)
    plain = labels_of(built(dense))
    method.constrain(TrainConstraints((modifier,)))
    changed = labels_of(method)
    assert not np.array_equal(plain, changed)


def test_a_penalty_keeps_one_camera_out_of_a_cluster() -> None:
    method = built(GRAPH_METHODS["Cluster Contrast"])
    method.constrain(TrainConstraints((same_camera_modifier(5.0),)))
    graph = method.build_graph(groups(), 0.6)
    near = graph.dist <= 0.6
    assert near.any() and not (CAMIDS[graph.i[near]] == CAMIDS[graph.j[near]]).any()


def test_hdc_sees_the_changed_distances_of_all_pairs() -> None:
    modifiers = (same_camera_modifier(0.2), noisy_modifier())
    method = built(GRAPH_METHODS["3C, HDC"])
    method.constrain(TrainConstraints(modifiers))
    assert method.clusterer is not None and method.clusterer.radius is not None
    dense = method.build_graph(groups(), method.clusterer.radius).to_dense()
    expected = jaccard_distance(groups(), k1=12, k2=2)
    for modifier in modifiers:
        expected = modifier.apply(expected, slice(0, N))
    expected.fill_diagonal_(0)
    dense.fill_diagonal_(0)
    torch.testing.assert_close(dense, expected)


@pytest.mark.parametrize("name", FEATURE_METHODS)
def test_distances_that_nothing_reads_are_refused(name: str) -> None:
    method = built(FEATURE_METHODS[name])
    with pytest.raises(UserError, match="not what (KMeans|BottomUp) clusters by: use CLUSTER.NAME DBSCAN"):
        method.constrain(TrainConstraints((same_camera_modifier(0.1),)))


def test_rounds_without_a_graph_are_named(caplog: pytest.LogCaptureFixture) -> None:
    warmup = ("CLUSTER.WARMUP.NAME", "DBSCAN", "CLUSTER.WARMUP.ROUNDS", 2, "CLUSTER.MIN_SAMPLES", 8)
    method = built((*FEATURE_METHODS["3C, k-means"], *warmup))
    plain = labels_of(method)
    method.constrain(TrainConstraints((same_camera_modifier(0.5),)))
    assert "not in those of KMeans" in caplog.text
    assert not np.array_equal(labels_of(method), plain)


def test_a_method_with_its_own_rule_refuses() -> None:
    buc = toy_method("METHOD.NAME", "BUC", "MEMORY.NAME", "ExclusiveTable", camids=CAMIDS)
    with pytest.raises(UserError, match="BUC labels by its own rule: switch them off"):
        buc.constrain(TrainConstraints((), Links.symmetric([(0, 1)], N)))
    assert auxusl("CLUSTER.NAME", "KMeans").modifiers == ()


def test_a_mode_that_only_dbscan_has_is_refused_elsewhere() -> None:
    ordered = ("CLUSTER.ICDBSCAN_OPTION", True, "CLUSTER.ICDBSCAN_MODE", "ordered")
    built((*GRAPH_METHODS["3C, DBSCAN"], *ordered))
    for overrides in (GRAPH_METHODS["CDSM"], FEATURE_METHODS["3C, k-means"]):
        with pytest.raises(UserError, match="ICDBSCAN_MODE ordered is DBSCAN's.*set it to clean"):
            built((*overrides, *ordered))


def test_links_of_another_list_are_named() -> None:
    for overrides in (GRAPH_METHODS["CDSM"], FEATURE_METHODS["3C, k-means"]):
        method = built(overrides)
        method.constrain(TrainConstraints((), Links.symmetric([(0, 1)], 5)))
        with pytest.raises(UserError, match="of 5 samples, the training list has 48"):
            method.cluster(groups(), 0)


def test_the_innermost_member_stays() -> None:
    features = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.9, -0.1], [0.6, 0.8], [-1.0, 0.0]])
    labels = torch.tensor([0, 0, 0, 0, 1])
    found = keep_apart(Clustering(labels, 2), features, Links.from_pairs([3, 1, 0], [0, 2, 4], (5, 5)))
    assert found.labels.tolist() == [0, 0, -1, -1, 1] and found.num_clusters == 2
    assert found.extras["kept_apart"] == 2


@pytest.mark.parametrize("file", ["ISE", "CDSM", "CCC_HDC", "SpCL"])
def test_a_run_with_scp_from_its_config(file: str, tiny_config: MakeConfig) -> None:
    """The cameras of the records are enough for SCP; no file is needed."""
    short = ("OPTIM.EPOCHS", "2", "DATALOADER.ITERS", "2", "CLUSTER.CCE_OPTION", "True")
    cfg = tiny_config(*short, file=f"{file}_synthetic.yml")
    assert run(cfg)["finished"]
    state = load_run(Path(cfg.OUTPUT_DIR) / "checkpoint.pth")
    assert all(torch.isfinite(value).all() for value in state["model"].values())
