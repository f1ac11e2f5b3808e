"""The same lists, graphs and labels on a CUDA device as on the CPU; run where there is one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tests.conftest import needs_cuda
from unreid.clustering import dbscan
from unreid.neighbors import jaccard_graph, knn, metric_graph
from unreid.structures import PairGraph

pytestmark = needs_cuda


def world() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(80, 64, generator=generator)
    owner = torch.randint(80, (1500,), generator=generator)
    return normalize(centers[owner] + 0.9 * torch.randn(1500, 64, generator=generator), dim=1)


def assert_same(first: PairGraph, second: PairGraph, atol: float = 2e-6) -> None:
    assert torch.equal(first.i.cpu(), second.i.cpu()) and torch.equal(first.j.cpu(), second.j.cpu())
    torch.testing.assert_close(first.dist.cpu(), second.dist.cpu(), rtol=0, atol=atol)


@pytest.mark.parametrize("backend", ["torch", "torch_bf16"])
def test_lists(backend: str) -> None:
    x = world()
    expected = knn(x, 30)
    distance, index = knn(x.cuda(), 30, backend=backend)
    assert index.is_cuda and torch.equal(index.cpu(), expected[1])
    torch.testing.assert_close(distance.cpu(), expected[0], rtol=1e-5, atol=1e-6)
    again = knn(x.cuda(), 30, backend=backend, block=97)
    assert torch.equal(again[0], distance) and torch.equal(again[1], index)


def test_lists_from_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unreid.neighbors.knn.FEW", 0)
    x = world()
    distance, index = knn(x.cuda(), 30, backend="torch_ivf")
    assert index.is_cuda and distance.is_cuda
    exact = knn(x, 30)[1]
    found = (index.cpu()[:, :, None] == exact[:, None, :]).any(dim=2)
    assert found.float().mean() > 0.9


@pytest.mark.parametrize("eps", [0.4, 0.5, 0.6])
def test_graphs_and_labels(eps: float) -> None:
    x = world()
    cpu = jaccard_graph(x, radius=eps)
    cuda = jaccard_graph(x.cuda(), radius=eps)
    assert cuda.dist.is_cuda
    assert_same(cpu, cuda)
    again = jaccard_graph(x.cuda(), radius=eps)
    assert torch.equal(cuda.dist, again.dist)
    for mine, other in zip(dbscan(cpu, eps), dbscan(cuda, eps)):
        assert torch.equal(mine, other.cpu())


@pytest.mark.parametrize("metric, radius", [("euclidean", 0.9), ("cosine", 0.4)])
def test_metric_graphs(metric: str, radius: float) -> None:
    x = world()
    assert_same(metric_graph(x, metric=metric, radius=radius), metric_graph(x.cuda(), metric=metric, radius=radius))
