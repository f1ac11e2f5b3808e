"""Products by either library are the same, with their gradients; repeated rows are multiplied once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from unreid.utils import products as module
from unreid.utils.products import (
    batched_products,
    distinct,
    gram,
    known_products,
    linear,
    onednn_is_faster,
    picked_products,
    products,
)


@pytest.fixture(params=["usual", "oneDNN"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "oneDNN":
        if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
            pytest.skip("PyTorch has no oneDNN here")
        monkeypatch.setattr(module, "onednn_is_faster", lambda: True)
        monkeypatch.setattr(module, "WORTH", 0)
    else:
        monkeypatch.setattr(module, "onednn_is_faster", lambda: False)
    return str(request.param)


def rows(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(shape[0]), requires_grad=True)


@pytest.mark.parametrize("shape", [(6, 5, 3), (64, 70, 33), (2, 300, 128)])
def test_products_and_their_gradients(library: str, shape: tuple[int, int, int]) -> None:
    a, b, weights = rows(shape[0], shape[2]), rows(shape[1], shape[2]), rows(shape[0], shape[1]).detach()
    expected = a.double() @ b.double().t()
    torch.testing.assert_close(products(a, b).double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(products(a.detach(), b.detach()).double(), expected, rtol=1e-5, atol=1e-5)
    wanted = torch.autograd.grad((expected * weights).sum(), (a, b))
    for inputs in ((a, b), (a, b.detach()), (a.detach(), b)):
        known = [one for one in inputs if one.requires_grad]
        found = torch.autograd.grad((products(*inputs) * weights).sum(), known)
        for one, gradient in zip(known, found):
            torch.testing.assert_close(gradient, wanted[0] if one is a else wanted[1], rtol=1e-4, atol=1e-4)


def test_batched_products_and_their_gradients(library: str) -> None:
    a, b, weights = rows(3, 20, 33), rows(3, 30, 33), rows(3, 20, 30).detach()
    expected = (a[..., None, :] * b[:, None]).sum(-1)
    wanted = torch.autograd.grad((expected * weights).sum(), (a, b))
    torch.testing.assert_close(batched_products(a.detach(), b.detach()), expected, rtol=1e-5, atol=1e-5)
    for inputs in ((a, b), (a, b.detach()), (a.detach(), b)):
        known = [one for one in inputs if one.requires_grad]
        found = torch.autograd.grad((batched_products(*inputs) * weights).sum(), known)
        for one, gradient in zip(known, found):
            torch.testing.assert_close(gradient, wanted[0] if one is a else wanted[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(33,), (20, 33), (4, 5, 33), (0, 33)])
@pytest.mark.parametrize("biased", [True, False])
def test_linear_is_that_of_pytorch(library: str, shape: tuple[int, ...], biased: bool) -> None:
    x, weight, bias = rows(*shape), rows(30, 33), rows(30) if biased else None
    inputs = [one for one in (x, weight, bias) if one is not None]
    expected, found = torch.nn.functional.linear(x, weight, bias), linear(x, weight, bias)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(9))
    wanted = torch.autograd.grad((expected * weights).sum(), inputs)
    for one, other in zip(torch.autograd.grad((found * weights).sum(), inputs), wanted):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight, bias), expected, rtol=1e-5, atol=1e-5)


def test_known_and_picked_products_have_the_gradient_of_the_whole(library: str) -> None:
    a, b = rows(20, 33), rows(30, 33).detach()
    index = torch.randint(30, (20, 7), generator=torch.Generator().manual_seed(0))  # an entry may come twice
    whole = products(a, b)
    for found, expected in (
        (known_products(a, b, whole), whole),
        (picked_products(a, b, whole, index), whole.gather(1, index)),
    ):
        assert torch.equal(found, expected)
        weights = rows(*found.shape).detach()
        (gradient,) = torch.autograd.grad((found * weights).sum(), a)
        (wanted,) = torch.autograd.grad((expected * weights).sum(), a, retain_graph=True)
        torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-4)


def test_onednn_never_sees_a_strided_second_factor(library: str) -> None:
    """Its kernel for those is a thousand times slower."""
    seen: list[Tensor] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if "_linear_pointwise" in str(function):
                seen.append(args[1])
            return function(*args, **(kwargs or {}))

    a, b = rows(20, 3, 33).transpose(0, 1), rows(3, 30, 70)[..., :33]
    with Watch():
        batched_products(a, b).transpose(0, 1).sum().backward()
        products(a[1], b[1]).sum().backward()
        products(a.detach()[1], b.detach()[1].expand(30, 33))
    assert all(one.is_contiguous() or one.t().is_contiguous() for one in seen)
    assert len(seen) == (13 if library == "oneDNN" else 0)


def test_autocast_chooses_its_own_type(library: str) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert products(rows(64, 33), rows(70, 33)).dtype == torch.bfloat16
        assert batched_products(rows(2, 64, 33), rows(2, 70, 33)).dtype == torch.bfloat16


def test_gram_and_its_gradient(library: str) -> None:
    a, weights = rows(20, 33), rows(20, 20).detach()
    torch.testing.assert_close(gram(a), a @ a.t(), rtol=1e-5, atol=1e-5)
    (wanted,) = torch.autograd.grad((a @ a.t() * weights).sum(), a)
    (found,) = torch.autograd.grad((gram(a) * weights).sum(), a)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_other_types_go_the_usual_way(library: str) -> None:
    a, b = rows(6, 4).double(), rows(5, 4).double()
    assert torch.equal(products(a, b), a @ b.t()) and products(a.bfloat16(), b.bfloat16()).dtype == torch.bfloat16


def test_the_choice_is_made_once_and_is_the_same_in_every_process() -> None:
    assert onednn_is_faster() == onednn_is_faster() and onednn_is_faster.cache_info().currsize == 1


def test_distinct_values_and_their_places() -> None:
    values = torch.tensor([5, 2, 5, 9, 2])
    found, place = distinct(values)
    assert found.tolist() == [2, 5, 9] and place is not None and torch.equal(found[place], values)
