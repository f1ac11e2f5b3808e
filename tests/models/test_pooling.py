from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from unreid.models.pooling import POOLINGS, GeneralizedMeanPooling, build_pooling
from unreid.utils.errors import UserError


def textbook(name: str, region: Tensor, p: float = 3.0) -> float:
    """One channel of one band, position by position."""
    values = [float(v) for v in region.flatten()]
    if name == "avg":
        return sum(values) / len(values)
    if name == "max":
        return max(values)
    if name == "avg+max":
        return textbook("avg", region) + textbook("max", region)
    return (sum(max(v, 1e-6) ** p for v in values) / len(values)) ** (1 / p)


@pytest.mark.parametrize("name", ["avg", "max", "gem", "avg+max"])
@pytest.mark.parametrize("stripes", [1, 2, 4])
def test_every_band_is_pooled_by_itself(name: str, stripes: int) -> None:
    maps = torch.randn(2, 3, 8, 3)
    found = build_pooling(name, stripes)(maps)
    assert found.shape == (2, 3 * stripes)
    for n in range(2):
        for s, band in enumerate(maps[n].tensor_split(stripes, dim=1)):
            for c in range(3):
                assert found[n, s * 3 + c].item() == pytest.approx(textbook(name, band[c]), rel=1e-5, abs=1e-6)


@given(p=st.floats(1.0, 8.0), scale=st.floats(0.01, 20.0))
def test_gem_lies_between_mean_and_maximum(p: float, scale: float) -> None:
    maps = torch.rand(2, 4, 5, 3) * scale
    found = GeneralizedMeanPooling(p=p)(maps)
    assert (found >= build_pooling("avg")(maps) * (1 - 1e-5)).all()
    assert (found <= build_pooling("max")(maps) * (1 + 1e-5)).all()


def test_the_exponent_of_gem_is_learned() -> None:
    pooling = GeneralizedMeanPooling()
    assert pooling.p.shape == (1,) and pooling.p.item() == 3.0
    maps = torch.rand(2, 4, 5, 3, dtype=torch.float64)
    pooling.double()
    assert torch.autograd.gradcheck(
        lambda x, p: torch.func.functional_call(pooling, {"p": p}, x), (maps.requires_grad_(), pooling.p)
    )


@pytest.mark.parametrize("name", list(POOLINGS))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_maps_are_pooled_in_float32(name: str, dtype: torch.dtype) -> None:
    maps = torch.rand(2, 4, 6, 3).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = build_pooling(name)(maps)
    assert found.dtype == torch.float32
    assert torch.equal(found, build_pooling(name)(maps.float()))


def test_more_stripes_than_rows_are_explained() -> None:
    with pytest.raises(UserError, match=r"STRIPES is 4 .* 2 rows"):
        build_pooling("avg", 4)(torch.zeros(1, 2, 2, 2))
    with pytest.raises(ValueError, match="at least 1"):
        build_pooling("avg", 0)


def test_an_unknown_pooling_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"avg, avg\+max, gem, max"):
        build_pooling("median")
