"""Neighbour lists: exact, in one order, independent of blocks and back-ends."""

from __future__ import annotations

import importlib
import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from unreid.neighbors import cells, knn, torch_search
from unreid.neighbors.faiss_search import recall_of
from unreid.neighbors.torch_search import exact_search, smallest
from unreid.utils.errors import UserError

knn_module = importlib.import_module("unreid.neighbors.knn")  # the package's name for it is the function


def textbook(features: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Sorts every row of the float64 distance matrix by (is it not the row itself, distance, index)."""
    x = features.double().numpy()
    square = ((x[:, None, :] - x[None, :, :]) ** 2).sum(-1)
    key = square.copy()
    np.fill_diagonal(key, -1.0)
    order = np.argsort(key, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(square, order, 1), order


def clustered(n: int, dim: int, seed: int = 0, ids: int = 20) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(ids, dim, generator=generator)
    owner = torch.randint(ids, (n,), generator=generator)
    return normalize(centers[owner] + 0.8 * torch.randn(n, dim, generator=generator), dim=1)


EXACT = ["torch", "faiss_flat", "torch_bf16"]


@pytest.mark.parametrize("backend", EXACT)
@pytest.mark.parametrize("scale", [1.0, 28.0])
def test_lists_equal_the_textbook(backend: str, scale: float) -> None:
    x = scale * clustered(300, 24)
    distance, index = knn(x, 12, backend=backend)
    expected_distance, expected = textbook(x, 12)
    assert distance.dtype == torch.float32 and index.dtype == torch.int64
    np.testing.assert_array_equal(index.numpy(), expected)
    np.testing.assert_allclose(distance.numpy(), expected_distance, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_scan_of_any_precision_and_block_size_returns_the_same_bits(dtype: torch.dtype) -> None:
    x = clustered(400, 64)
    distance, index = knn(x, 10)
    for queries in (None, torch.arange(len(x))):
        for block in (1, 7, 64, 500) if queries is not None else (9, 64, 500):
            again = exact_search(x, queries, 10, dtype=dtype, block=block)
            assert torch.equal(again[1], index) and torch.equal(again[0], distance)


@pytest.mark.parametrize("backend", EXACT)
def test_identical_rows_follow_by_index_behind_the_row_itself(backend: str) -> None:
    x = clustered(200, 16)
    x[40:110] = x[40]
    distance, index = knn(x, 8, backend=backend)
    assert index[100].tolist() == [100, 40, 41, 42, 43, 44, 45, 46]
    assert index[42].tolist() == [42, 40, 41, 43, 44, 45, 46, 47]
    assert (distance[40:110] == 0).all()


def test_all_rows_identical(monkeypatch: pytest.MonkeyPatch) -> None:
    assert knn(torch.ones(50, 8), 5)[1][7].tolist() == [7, 0, 1, 2, 3]
    monkeypatch.setattr(torch_search, "_PAIRS", {"cpu": 120})  # fewer pairs at once than the duplicates make
    assert knn(torch.ones(50, 8), 5)[1][7].tolist() == [7, 0, 1, 2, 3]


@pytest.mark.parametrize("order", ["random", "by identity"])
def test_tiles_smaller_than_the_lists(order: str) -> None:
    """A row's own tile cannot fill its list, and sorted identities put every neighbour into one tile."""
    x = clustered(90, 6, ids=5)
    if order == "by identity":
        x = x[x[:, 0].argsort()]
    for block in (1, 5, 20, 89):
        np.testing.assert_array_equal(exact_search(x, None, 12, block=block)[1].numpy(), textbook(x, 12)[1])


@given(
    n=st.integers(2, 60),
    k=st.integers(1, 20),
    levels=st.integers(1, 3),
    seed=st.integers(0, 10**6),
    backend=st.sampled_from(EXACT),
)
def test_ties_of_coarse_features_are_broken_by_index(n: int, k: int, levels: int, seed: int, backend: str) -> None:
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.integers(0, levels + 1, (n, 3)).astype(np.float32))
    np.testing.assert_array_equal(knn(x, min(k, n), backend=backend)[1].numpy(), textbook(x, min(k, n))[1])


def test_shares_of_the_rows_put_together_are_the_whole() -> None:
    x = clustered(101, 16)
    distance, index = knn(x, 9)
    parts = [knn(x, 9, queries=rows) for rows in torch.arange(101).chunk(3)]
    assert torch.equal(torch.cat([p[1] for p in parts]), index)
    assert torch.equal(torch.cat([p[0] for p in parts]), distance)
    assert knn(x, 9, queries=torch.arange(0))[1].shape == (0, 9)


def test_more_neighbours_than_samples_are_clamped_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert knn(clustered(5, 4), 30)[1].shape == (5, 5)
    assert "30" in caplog.text


@pytest.mark.parametrize("backend", ["torch_ivf", "faiss_ivf", "faiss_hnsw"])
def test_approximate_lists_are_ordered_complete_and_measured(
    backend: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knn_module, "FEW", 0)
    x = clustered(1500, 16, ids=60)
    with caplog.at_level(logging.INFO):
        distance, index = knn(x, 10, backend=backend)
    assert "true neighbours" in caplog.text
    assert (index[:, 0] == torch.arange(1500)).all() and (index >= 0).all()
    assert (distance.diff(dim=1) >= 0).all()
    assert recall_of(index, knn(x, 10)[1]) > 0.9
    if backend != "faiss_hnsw":
        assert torch.equal(knn(x, 10, backend=backend)[1], index)


def test_cells_of_all_rows_serve_every_share_and_every_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer cells than are visited, cells of one identity, and those of identical rows cut into pieces."""
    monkeypatch.setattr(knn_module, "FEW", 0)
    x = clustered(900, 24, ids=40)
    x[100:200] = x[100]
    x[300] = 0  # an image that could not be read
    whole = knn(x, 12, backend="torch_ivf")
    assert (whole[0] <= knn(x, 12)[0][:, -1:]).float().mean() > 0.95  # of identical rows any will do
    assert (whole[1][:, 0] == torch.arange(900)).all()
    parts = [knn(x, 12, backend="torch_ivf", queries=rows) for rows in torch.arange(900).chunk(2)]
    assert torch.equal(torch.cat([part[1] for part in parts]), whole[1])
    monkeypatch.setattr(cells, "_BYTES", {"cpu": 2**14})
    monkeypatch.setattr(cells, "_BLOCK", 7)
    assert torch.equal(knn(x, 12, backend="torch_ivf")[1], whole[1])


def test_more_cells_are_visited_where_neighbours_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = clustered(2000, 24, ids=100), torch.randn(2000, 24)
    counts = [cells.Cells.of(x).visits(x, 10, None, 0) for x in (near, far)]
    assert counts[0] < counts[1]


def test_cells_compare_as_many_dimensions_as_the_neighbours_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plane in many dimensions needs few of them, a ball all; either way the true neighbours are found."""
    monkeypatch.setattr(knn_module, "FEW", 0)
    plane, ball = clustered(2000, 20, ids=100) @ torch.randn(20, 300) + 5, torch.randn(2000, 300)
    assert cells.Cells.of(plane).table.shape[1] == 64
    assert cells.Cells.of(ball).table.shape[1] > 128
    assert cells.Cells.of(ball[:, :30]).table.shape[1] == 32
    for x in (plane, ball):
        assert recall_of(knn(x, 10, backend="torch_ivf")[1], knn(x, 10)[1]) > 0.9


def test_very_many_cells_are_found_through_cells_of_their_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knn_module, "FEW", 0)
    monkeypatch.setattr(cells, "_MANY", 100)
    x = clustered(2500, 20, ids=100)
    assert recall_of(knn(x, 10, backend="torch_ivf")[1], knn(x, 10)[1]) > 0.9


def test_the_smallest_of_many_columns_are_those_of_a_sort() -> None:
    for columns, count, dtype in ((40, 40, torch.float32), (90, 7, torch.float32), (5000, 33, torch.bfloat16)):
        scores = torch.randn(6, columns).to(dtype)
        values, index = smallest(scores, count)
        assert torch.equal(values, scores.gather(1, index)) and values.dtype == dtype
        assert torch.equal(values.sort(dim=1).values, scores.sort(dim=1).values[:, :count])


def test_auto_is_exact_where_that_is_quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    x = clustered(300, 16)
    assert torch.equal(knn(x, 9, backend="auto")[1], knn(x, 9)[1])
    assert knn_module.resolved("auto", torch.empty(50_001, 1)) == "torch_ivf"
    assert knn_module.resolved("auto", torch.empty(50_001, 1, device="meta")) == "torch_bf16"
    assert knn_module.resolved("faiss_ivf", torch.empty(50_001, 1)) == "faiss_ivf"


def test_poor_recall_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    x = torch.randn(2000, 48)
    with caplog.at_level(logging.WARNING):
        index = knn(x, 20, backend="faiss_ivf", nprobe=1)[1]
    assert "exact CLUSTER.KNN.BACKEND" in caplog.text
    assert (index >= 0).all() and index.shape == (2000, 20)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(UserError, match="faiss_flat"):
        knn(torch.ones(4, 2), 2, backend="annoy")
    with pytest.raises(ValueError, match="diverged"):
        knn(torch.tensor([[1.0, float("nan")]]), 1)
    with pytest.raises(ValueError, match="N, D"):
        knn(torch.ones(4), 1)
    with pytest.raises(ValueError, match="at least 1"):
        knn(torch.ones(4, 2), 0)
