"""Products of rows with rows, by whichever library of PyTorch's is the faster one on this processor.

PyTorch multiplies float32 matrices on x86 with MKL, which keeps to AVX2 on processors that are not Intel's; oneDNN,
which PyTorch brings as well, takes AVX-512 wherever it is (2.3 times as fast on a Zen 5). Both add in float32.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

WORTH = 2**20  # multiplications below which the cost of the call itself is felt


def products(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b.T``: (M, K) and (N, K) -> (M, N), with gradient to both, on any device and in any type."""
    if not _by_onednn(a, b):
        return a @ b.t()
    return _Products.apply(a, b) if torch.is_grad_enabled() and (a.requires_grad or b.requires_grad) else _fast(a, b)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias``: (..., K) and (N, K) -> (..., N), with gradient to all; as ``F.linear`` otherwise."""
    if x.dim() < 2 or not _by_onednn(x.flatten(0, -2), weight):
        return F.linear(x, weight, bias)
    needed = torch.is_grad_enabled() and any(one is not None and one.requires_grad for one in (x, weight, bias))
    rows = x.flatten(0, -2)
    found = _Linear.apply(rows, weight, bias) if needed else _fast(rows, weight, bias)
    return found.unflatten(0, x.shape[:-1])


def gram(a: Tensor) -> Tensor:
    """``a @ a.T``: (M, K) -> (M, M), with gradient; one product back instead of two."""
    if not _by_onednn(a, a):
        return a @ a.t()
    return _Gram.apply(a) if torch.is_grad_enabled() and a.requires_grad else _fast(a, a)


def batched_products(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b.mT``: (P, M, K) and (P, N, K) -> (P, M, N), with gradient to both; as fast as :func:`products`."""
    if not _by_onednn(a[0], b[0]):
        return a @ b.mT
    needed = torch.is_grad_enabled() and (a.requires_grad or b.requires_grad)
    return _BatchedProducts.apply(a, b) if needed else _each(a, b)


def known_products(a: Tensor, b: Tensor, found: Tensor) -> Tensor:
    """:func:`products` where their values are known: ``found`` (M, N), now with gradient to ``a``; ``b`` gets none."""
    return _Known.apply(a, b.detach(), found.detach())


def picked_products(a: Tensor, b: Tensor, found: Tensor, index: Tensor) -> Tensor:
    """The products of every row of ``a`` with a few rows of ``b``, where all of them are known.

    The gradient reads those few rows, instead of a second product with all of them.

    Args:
        a: (M, D), with gradient.
        b: (N, D); no gradient.
        found: (M, N), ``a @ b.T``.
        index: int64 (M, K), rows of ``b``.

    Returns:
        (M, K), ``found[i, index[i, k]]``.
    """
    return _Picked.apply(a, b.detach(), found.detach(), index)


def distinct(values: Tensor) -> tuple[Tensor, Tensor | None]:
    """The distinct values of a batch, and the place of each entry among them; on a GPU the entries as they are.

    Saves work that repeats; how many values there are is data, which a GPU would have to be waited for.

    Returns:
        int64 (V,) and int64 (B,), or the argument and None.
    """
    if values.device.type != "cpu":
        return values, None
    found, place = torch.unique(values, return_inverse=True)
    return found, place


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return _fast(a, b)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        left, right = ctx.needs_input_grad
        return _fast(grad, b.t()) if left else None, _fast(grad.t(), a.t()) if right else None


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _fast(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            _fast(grad, weight.t()) if wanted[0] else None,
            _fast(grad.t(), x.t()) if wanted[1] else None,
            grad.sum(0) if wanted[2] else None,
        )


class _BatchedProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return _each(a, b)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        left, right = ctx.needs_input_grad
        return _each(grad, b.mT) if left else None, _each(grad.mT, a.mT) if right else None


class _Known(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, found: Tensor) -> Tensor:
        ctx.save_for_backward(b)
        return found.view_as(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None]:
        (b,) = ctx.saved_tensors
        return products(grad, b.t()) if ctx.needs_input_grad[0] else None, None, None


class _Picked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, found: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(b, index)
        return found.gather(1, index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None, None]:
        b, index = ctx.saved_tensors
        if not ctx.needs_input_grad[0]:
            return None, None, None, None
        return F.embedding_bag(index, b, mode="sum", per_sample_weights=grad), None, None, None


class _Gram(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        ctx.save_for_backward(a)
        return _fast(a, a)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (a,) = ctx.saved_tensors
        return _fast(grad + grad.t(), a.t())


def _fast(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    if not (b.is_contiguous() or b.t().is_contiguous()):
        b = b.contiguous()  # oneDNN takes a reference kernel for anything else: a thousand times slower
    return torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")


def _each(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack([_fast(one, other) for one, other in zip(a, b)])


def _by_onednn(a: Tensor, b: Tensor) -> bool:
    return (
        a.device.type == "cpu"
        and a.dtype == b.dtype == torch.float32
        and len(a) * b.numel() >= WORTH
        and len(a) > 1
        and onednn_is_faster()
        and not (torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.is_autocast_enabled("cpu"))
    )


@functools.cache
def onednn_is_faster() -> bool:
    """Whether this is a processor with AVX-512 that MKL does not use it on."""
    return (
        torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and _vendor() not in ("GenuineIntel", "")
    )


def _vendor() -> str:
    """The maker of the processor as Linux names it; "" elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "")
