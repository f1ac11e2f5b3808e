"""The three sample-to-sample distances of HDC, in a form that is encoded once and multiplied often."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unreid.neighbors.torch_search import full_precision

EULER_ALPHA = 1.9  # phase of a feature value x is EULER_ALPHA * pi * x
_CACHED_ELEMENTS = 1 << 17  # entries of a buffer that still fit into a CPU core's cache


@dataclass(frozen=True)
class Encoded:
    """Rows prepared for a :class:`Similarity`.

    Attributes:
        matrix: float32 (n, E), what enters the matrix products.
        offset: float32 (n, F), what is added per row; F may be 0.
    """

    matrix: Tensor
    offset: Tensor

    def __len__(self) -> int:
        return len(self.matrix)

    def __getitem__(self, rows: slice) -> Encoded:
        return Encoded(self.matrix[rows], self.offset[rows])

    def select(self, rows: Tensor) -> Encoded:
        """The rows at int64 positions (k,)."""
        return Encoded(self.matrix.index_select(0, rows), self.offset.index_select(0, rows))


class Similarity(ABC):
    """A distance between real vectors.

    ``maximum`` is the largest value the distance can take, by which it is normalised; None stands for the largest
    entry of the matrix at hand (3C divides Euler and Euclidean distances so, cosine distances by 2).
    """

    maximum: float | None = None
    rough = False  # whether ``cross`` also takes matrices in bfloat16

    @abstractmethod
    def encode(self, x: Tensor) -> Encoded:
        """Prepares rows x, float32 (n, D)."""

    @abstractmethod
    def cross(self, a: Encoded, b: Encoded) -> Tensor:
        """float32 (n, m): distance of every row of ``a`` to every row of ``b``, not normalised."""

    @abstractmethod
    def paired(self, a: Encoded, b: Encoded, rows: Tensor, partners: Tensor, block: int = 1024) -> Tensor:
        """float32 (k,): distance of row ``rows[t]`` of ``a`` to row ``partners[t]`` of ``b``, not normalised."""


class EulerCosine(Similarity):
    """``D(x, y) = |sum_k (e(x_k) - e(y_k))^2|`` with ``e(x) = exp(i alpha pi x) / sqrt(2)`` (3C, HDC distances).

    The square is the complex square, not the squared modulus: terms add with their phases. With
    ``p = exp(i alpha pi x) - 1`` and q likewise for y, ``(e(x) - e(y))^2 = (p - q)^2 / 2 = p^2/2 + q^2/2 - p q``: two
    real matrix products and two offsets per row. Taking out the 1 leaves numbers of the size of the angle instead of
    the size of 1, so that single precision loses nothing to cancellation.
    """

    rough = True

    def encode(self, x: Tensor) -> Encoded:
        angle = x.float() * (EULER_ALPHA * math.pi)
        real = torch.sin(angle / 2).square_().mul_(-2)  # cos(angle) - 1 without cancellation
        imaginary = torch.sin(angle)
        half_square = (real.square() - imaginary.square()).sum(1) / 2
        return Encoded(torch.cat([real, imaginary], 1), torch.stack([half_square, (real * imaginary).sum(1)], 1))

    @full_precision()
    def cross(self, a: Encoded, b: Encoded) -> Tensor:
        product = (a.matrix @ torch.cat(_times(b.matrix)).T).float()
        real, imaginary = product.split(len(b), 1)
        real.sub_(a.offset[:, :1]).sub_(b.offset[:, 0])
        imaginary.sub_(a.offset[:, 1:]).sub_(b.offset[:, 1])
        return torch.hypot(real, imaginary)

    def paired(self, a: Encoded, b: Encoded, rows: Tensor, partners: Tensor, block: int = 1024) -> Tensor:
        factors = _times(b.matrix)
        result = a.offset.index_select(0, rows) + b.offset.index_select(0, partners)
        for part in _parts(len(rows), a.matrix, block):
            left = a.matrix.index_select(0, rows[part])
            for column, factor in enumerate(factors):
                result[part, column] -= factor.index_select(0, partners[part]).mul_(left).sum(1)
        return torch.hypot(result[:, 0], result[:, 1])


class Euclidean(Similarity):
    """``D(x, y) = |x - y|``."""

    def encode(self, x: Tensor) -> Encoded:
        x = x.float()
        return Encoded(x, x.square().sum(1, keepdim=True))

    @full_precision()
    def cross(self, a: Encoded, b: Encoded) -> Tensor:
        squared = torch.addmm(b.offset.T, a.matrix, b.matrix.T, alpha=-2).add_(a.offset)
        return squared.clamp_(min=0).sqrt_()

    def paired(self, a: Encoded, b: Encoded, rows: Tensor, partners: Tensor, block: int = 1024) -> Tensor:
        result = a.offset.new_empty(len(rows))
        for part in _parts(len(rows), a.matrix, block):
            difference = a.matrix.index_select(0, rows[part]).sub_(b.matrix.index_select(0, partners[part]))
            result[part] = torch.linalg.vector_norm(difference, dim=1)
        return result


class Cosine(Similarity):
    """``D(x, y) = 1 - cos(x, y)``, between 0 and 2."""

    maximum = 2.0

    def encode(self, x: Tensor) -> Encoded:
        x = F.normalize(x.float(), dim=1)
        return Encoded(x, x.new_empty(len(x), 0))

    @full_precision()
    def cross(self, a: Encoded, b: Encoded) -> Tensor:
        return (a.matrix @ b.matrix.T).neg_().add_(1).clamp_(0, 2)

    def paired(self, a: Encoded, b: Encoded, rows: Tensor, partners: Tensor, block: int = 1024) -> Tensor:
        result = a.offset.new_empty(len(rows))
        for part in _parts(len(rows), a.matrix, block):
            product = a.matrix.index_select(0, rows[part]).mul_(b.matrix.index_select(0, partners[part]))
            result[part] = 1 - product.sum(1)
        return result.clamp_(0, 2)


SIMILARITIES: dict[str, type[Similarity]] = {
    "euler_cosine": EulerCosine,
    "cosine": Cosine,
    "euclidean": Euclidean,
}


def build_similarity(name: str) -> Similarity:
    """The similarity of that name; raises ``ValueError`` for a name that is not in ``SIMILARITIES``."""
    if name not in SIMILARITIES:
        raise ValueError(f"unknown similarity {name!r}; known: {', '.join(SIMILARITIES)}")
    return SIMILARITIES[name]()


def distance_matrix(
    x: Tensor, y: Tensor | None = None, *, similarity: str = "euler_cosine", normalize: bool = True, block: int = 1024
) -> Tensor:
    """Distances of all rows of x to all rows of y, or of x to itself (then symmetric, with a zero diagonal).

    Args:
        x, y: float (n, D) and (m, D).
        similarity: "euler_cosine", "cosine" or "euclidean".
        normalize: divide by 2 (cosine) or by the largest entry of the result (the others).
        block: rows computed at once; beside the result, memory is proportional to it.

    Returns:
        float32 (n, m).
    """
    measure = build_similarity(similarity)
    rows = measure.encode(x)
    columns = rows if y is None else measure.encode(y)
    result = rows.matrix.new_empty(len(rows), len(columns))
    for start in range(0, len(rows), block):
        part = slice(start, start + block)
        if y is not None:
            result[part] = measure.cross(rows[part], columns)
            continue
        upper = measure.cross(rows[part], rows[start:]).triu_(1)  # the lower half is a mirror image: exact symmetry
        upper[:, : len(upper)] += upper[:, : len(upper)].T.clone()
        result[part, start:] = upper
        result[start:, part] = upper.T
    if normalize:
        _normalize_(result, measure.maximum)
    return result


def _normalize_(distance: Tensor, maximum: float | None) -> Tensor:
    scale = distance.max() if maximum is None else distance.new_tensor(maximum)
    return distance.div_(torch.where(scale > 0, scale, torch.ones_like(scale)))


def _parts(n: int, like: Tensor, block: int) -> Iterator[slice]:
    """Slices of 0..n of at most ``block`` rows, on CPU short enough for the cache."""
    step = block if like.is_cuda else max(1, min(block, _CACHED_ELEMENTS // max(like.shape[1], 1)))
    return (slice(start, start + step) for start in range(0, n, step))


def _times(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """For rows [c, d]: [c, -d] and [d, c], whose products with [a, b] are the parts of (a + ib)(c + id)."""
    real, imaginary = matrix.chunk(2, 1)
    return torch.cat([real, -imaginary], 1), torch.cat([imaginary, real], 1)
