"""CA-Jaccard beside a dense version written here, and its two neighbour lists beside a sort."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor

from unreid.neighbors import PairGraphBuilder, camera_jaccard_graph, jaccard_graph, share
from unreid.neighbors.camera_lists import camera_lists
from unreid.neighbors.jaccard import MAX_RADIUS
from unreid.structures import PairGraph
from unreid.utils.errors import UserError


def world(n: int = 120, cameras: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.nn.functional.normalize(torch.randn(n, 12, generator=generator), dim=1)
    return rows, torch.randint(cameras, (n,), generator=generator)


def ranked(features: Tensor, camids: Tensor, same: bool) -> np.ndarray:
    """Rows of the wanted side by distance, then the rest by distance; the row itself first on its own side."""
    rows = features.double()
    distance = (2 - 2 * rows @ rows.t()).numpy()
    np.fill_diagonal(distance, -1)
    excluded = (camids[:, None] == camids).numpy() != same
    return np.argsort(distance + 999 * excluded, axis=1, kind="stable")


def dense_distance(features: Tensor, camids: Tensor, k1: tuple[int, int], k2: tuple[int, int]) -> np.ndarray:
    n = len(features)
    near, far = ranked(features, camids, True), ranked(features, camids, False)
    squared = (2 - 2 * features.double() @ features.double().t()).numpy()
    weights = np.zeros((n, n))
    for i in range(n):
        members = {j for j in near[i, : k1[0] + 1] if i in near[j, : k1[0] + 1]}
        members |= {j for j in far[i, : k1[1] + 1] if i in far[j, : k1[1] + 1]}
        chosen = sorted(members)
        exponent = np.exp(-squared[i, chosen])
        weights[i, chosen] = exponent / exponent.sum()
    weights = np.stack([weights[np.concatenate([near[i, : k2[0]], far[i, : k2[1]]])].mean(0) for i in range(n)])
    shared = np.minimum(weights[:, None], weights[None]).sum(2)
    return np.maximum(1 - shared / (2 - shared), 0)


@pytest.mark.parametrize("backend", ["scipy", "torch"])
@pytest.mark.parametrize("cameras", [2, 4, 40])  # with 40, most cameras hold fewer rows than a list is wide
def test_graph_is_the_dense_definition(backend: str, cameras: int) -> None:
    features, camids = world(cameras=cameras)
    graph = camera_jaccard_graph(
        features, camids, k1_intra=4, k1_inter=9, k2_intra=2, k2_inter=3, radius=MAX_RADIUS, backend=backend
    )
    expected = dense_distance(features, camids, (4, 9), (2, 3))
    np.testing.assert_allclose(graph.to_dense().numpy(), expected, rtol=0, atol=3e-6)


def test_graph_holds_the_pairs_up_to_the_radius_and_no_other() -> None:
    features, camids = world()
    every = camera_jaccard_graph(features, camids, radius=MAX_RADIUS)
    near = camera_jaccard_graph(features, camids, radius=0.8)
    kept = every.dist <= 0.8 + 1e-6
    assert 0 < kept.sum() < len(every)
    assert torch.equal(near.i, every.i[kept]) and torch.equal(near.dist, every.dist[kept])


@pytest.mark.parametrize("backend", ["torch", "torch_bf16", "faiss_flat"])
def test_lists_are_a_sort_of_either_side(backend: str) -> None:
    features, camids = world(cameras=5)
    lists = camera_lists(features, camids, 6, 15, backend=backend)
    assert np.array_equal(lists.intra.numpy(), ranked(features, camids, True)[:, :6])
    assert np.array_equal(lists.inter.numpy(), ranked(features, camids, False)[:, :15])
    pairs = (features[:, None] - features[lists.inter]).square().sum(2)
    torch.testing.assert_close(lists.inter_distance, pairs, rtol=1e-5, atol=1e-6)


def test_a_share_of_the_rows_gets_the_lists_of_the_whole() -> None:
    features, camids = world()
    whole = camera_lists(features, camids, 5, 11)
    share = torch.arange(30, 77)
    part = camera_lists(features, camids, 5, 11, queries=share)
    assert torch.equal(part.intra, whole.intra[share]) and torch.equal(part.inter, whole.inter[share])


@pytest.mark.parametrize("one_large", [False, True])  # all others then hold less than half of the rows, in two ranges
@pytest.mark.parametrize("backend", ["torch_ivf", "faiss_hnsw", "faiss_ivf"])
def test_approximate_lists_keep_to_their_side(backend: str, one_large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unreid.neighbors.camera_lists._FEW", 50)
    monkeypatch.setattr("unreid.neighbors.camera_lists.FEW", 50)
    features, camids = world(900, cameras=3, seed=2)
    if one_large:
        camids[:500] = 1
    exact = camera_lists(features, camids, 6, 15)
    found = camera_lists(features, camids, 6, 15, backend=backend, nprobe=64)
    assert (camids[found.intra] == camids[:, None]).all() and (camids[found.inter] != camids[:, None]).all()
    shared = (found.inter[:, :, None] == exact.inter[:, None]).any(2).float().mean()
    assert shared > 0.95


def test_order_of_the_samples_changes_nothing() -> None:
    features, camids = world()
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(5))
    straight = camera_jaccard_graph(features, camids, radius=MAX_RADIUS).to_dense()
    mixed = camera_jaccard_graph(features[order], camids[order], radius=MAX_RADIUS).to_dense()
    torch.testing.assert_close(mixed, straight[order][:, order], rtol=0, atol=1e-6)


def test_names_of_cameras_do_not_matter() -> None:
    features, camids = world()
    renamed = camera_jaccard_graph(features, 17 - 3 * camids, radius=MAX_RADIUS).to_dense()
    torch.testing.assert_close(
        renamed, camera_jaccard_graph(features, camids, radius=MAX_RADIUS).to_dense(), rtol=0, atol=1e-6
    )


def test_one_camera_is_the_own_camera_half_and_said(caplog: pytest.LogCaptureFixture) -> None:
    features, _ = world()
    with caplog.at_level(logging.WARNING):
        graph = camera_jaccard_graph(features, torch.zeros(len(features), dtype=torch.int64), radius=MAX_RADIUS)
    assert "one camera" in caplog.text
    assert len(graph) > 0 and graph.self_dist.max() < 1e-5


def test_without_both_parts_it_is_the_plain_distance() -> None:
    features, camids = world()
    plain = jaccard_graph(features, k1=20, k2=4, k1_includes_self=False, radius=MAX_RADIUS)
    off = camera_jaccard_graph(features, camids, ckrnn=False, clqe=False, k1=20, k2=4, radius=MAX_RADIUS)
    torch.testing.assert_close(off.to_dense(), plain.to_dense(), rtol=0, atol=1e-6)


def test_impossible_sizes_are_refused() -> None:
    features, camids = world(20)
    with pytest.raises(UserError, match="K1_INTRA"):
        camera_jaccard_graph(features, camids, k1_intra=0)
    with pytest.raises(UserError, match="between 0 and 1"):
        camera_jaccard_graph(features, camids, radius=1.0)
    with pytest.raises(ValueError, match="camids"):
        camera_jaccard_graph(features, camids[:-1])


@pytest.mark.parametrize("backend", ["scipy", "torch"])
@pytest.mark.parametrize("metric", ["jaccard", "ca_jaccard"])
@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_that_share_the_work_make_the_graph_of_one(
    world_size: int, metric: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads in the place of processes, which wait for each other wherever they join their parts."""
    features, camids = world()
    build = PairGraphBuilder(metric=metric, k1=10, k2=3, backend=backend)
    alone = build(features, 0.7, camids=camids, round=2)
    barrier, parts, me = threading.Barrier(world_size, timeout=60), {}, threading.local()

    def gather(rows: torch.Tensor) -> torch.Tensor:
        parts[me.rank] = rows
        barrier.wait()
        whole = torch.cat([parts[rank] for rank in range(world_size)])
        barrier.wait()
        return whole

    def process(rank: int) -> PairGraph:
        me.rank = rank
        return build(features, 0.7, camids=camids, round=2)

    monkeypatch.setattr(share, "all_gather_rows", gather)
    monkeypatch.setattr(share, "get_world_size", lambda: world_size)
    monkeypatch.setattr(share, "get_rank", lambda: me.rank)
    with ThreadPoolExecutor(world_size) as pool:
        graphs = list(pool.map(process, range(world_size)))
    for graph in graphs:
        assert torch.equal(graph.i, alone.i) and torch.equal(graph.j, alone.j)
        assert torch.equal(graph.dist, alone.dist) and torch.equal(graph.self_dist, alone.self_dist)
