"""Segment means against a loop."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unreid.utils import means
from unreid.utils.means import segment_means


@given(st.lists(st.integers(-1, 4), min_size=0, max_size=30))
def test_means_and_counts_equal_a_loop(keys: list[int]) -> None:
    features = torch.randn(len(keys), 3)
    result, counts = segment_means(features, torch.tensor(keys, dtype=torch.int64), 5)
    for key in range(5):
        members = features[[k == key for k in keys]]
        assert int(counts[key]) == len(members)
        expected = members.double().mean(0).float() if len(members) else torch.zeros(3)
        torch.testing.assert_close(result[key], expected, rtol=0, atol=1e-6)


def test_column_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features, keys = torch.randn(50, 7), torch.randint(-1, 6, (50,))
    whole, _ = segment_means(features, keys, 6)
    monkeypatch.setattr(means, "CHUNK_ELEMENTS", 100)
    assert torch.equal(segment_means(features, keys, 6)[0], whole)


def test_half_precision_rows_are_summed_in_float32() -> None:
    features = torch.full((4096, 1), 1.0009765625).half()
    result, _ = segment_means(features, torch.zeros(4096, dtype=torch.int64), 1, dtype=torch.float32)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.item(), 1.0009765625)
