from __future__ import annotations

import pytest
import torch

from unreid.evaluation.distance import METRICS, DistanceBlocks, pairwise_distance, row_slices
from unreid.neighbors.torch_search import full_precision


@pytest.mark.parametrize("metric", METRICS)
def test_equals_the_definition_in_float64(metric) -> None:
    x, y = torch.randn(7, 5), torch.randn(9, 5)
    a, b = x.double()[:, None], y.double()[None]
    expected = {
        "squared_euclidean": (a - b).square().sum(-1),
        "euclidean": (a - b).norm(dim=-1),
        "cosine": 1 - torch.cosine_similarity(a, b, dim=-1),
    }[metric]
    dist = pairwise_distance(x, y, metric)
    assert dist.dtype == torch.float32
    torch.testing.assert_close(dist, expected.float(), atol=1e-5, rtol=1e-5)


def test_never_negative_for_equal_rows() -> None:
    x = torch.randn(50, 64) * 10
    for metric in METRICS:
        assert pairwise_distance(x, x, metric).min() >= 0


def test_blocks_with_modifiers_give_the_rows_of_the_whole() -> None:
    class PlusRowNumber:
        def apply(self, block: torch.Tensor, rows: slice) -> torch.Tensor:
            return block + torch.arange(rows.start, rows.stop)[:, None]

    x, y = torch.randn(8, 3), torch.randn(4, 3)
    blocks = DistanceBlocks(x, y, modifiers=[PlusRowNumber()])
    expected = pairwise_distance(x, y) + torch.arange(8.0)[:, None]
    torch.testing.assert_close(blocks.dense(), expected)
    torch.testing.assert_close(blocks(slice(3, 5)), expected[3:5])


def test_slices_cover_every_row_once() -> None:
    assert [(s.start, s.stop) for s in row_slices(7, 10, block=3)] == [(0, 3), (3, 6), (6, 7)]
    assert list(row_slices(0, 10)) == []
    assert [(s.start, s.stop) for s in row_slices(2, 1 << 30)] == [(0, 1), (1, 2)]


def test_precision_setting_is_restored() -> None:
    torch.set_float32_matmul_precision("high")
    try:
        with full_precision():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="metric must be"):
        pairwise_distance(torch.zeros(1, 2), torch.zeros(1, 2), "hamming")
    with pytest.raises(ValueError, match="features must be"):
        pairwise_distance(torch.zeros(1, 2), torch.zeros(1, 3))
