"""The table of backbones and the way to build one by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from unreid.utils.pixels import IMAGENET_MEAN, IMAGENET_STD, TIMM, timm_statistics
from unreid.utils.registry import Registry


class Backbone(Protocol):
    """What the embedding model asks of a backbone, which is an ``nn.Module`` besides.

    Attributes:
        feature_dim: channels C of the map that ``forward`` returns.
    """

    feature_dim: int

    def __call__(self, images: Tensor) -> Tensor:
        """float (N, 3, H, W), normalised -> float (N, C, h, w)."""
        ...

    def stages(self) -> dict[str, list[nn.Module | nn.Parameter]]:
        """Modules and bare parameters of "stem", "layer1" ... "layer4", in the order of the forward pass."""
        ...


@dataclass(frozen=True)
class WeightSource:
    """Where a backbone's published weights come from, and the input they were trained on.

    Attributes:
        versions: version ("V1", "V2") -> ``torchvision:<weights enum entry>`` or a URL.
        mean, std: pixel statistics of the training, RGB in [0, 1].
    """

    versions: dict[str, str]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


@dataclass(frozen=True)
class BackboneEntry:
    """A row of :data:`BACKBONES`: the function that builds the variant and the weights there are for it."""

    build: Callable[..., nn.Module]
    weights: WeightSource | None

    def accepts(self, options: dict[str, Any]) -> dict[str, Any]:
        """The part of ``options`` that ``build`` has a parameter for."""
        known = inspect.signature(self.build).parameters
        return {key: value for key, value in options.items() if key in known}


BACKBONES: Registry[BackboneEntry] = Registry("backbone")

F = TypeVar("F", bound=Callable[..., nn.Module])


def register_backbone(name: str, *aliases: str, weights: WeightSource | None = None) -> Callable[[F], F]:
    """Decorator of a function with plain keyword arguments that builds one variant with random weights."""

    def add(build: F) -> F:
        BACKBONES.register(name, *aliases)(BackboneEntry(build, weights))
        return build

    return add


def find_backbone(name: str) -> BackboneEntry:
    """The row of :data:`BACKBONES`, or one made for ``timm/NAME``.

    Raises:
        UserError: there is no such backbone.
    """
    if not name.startswith(TIMM):
        return BACKBONES.get(name)
    from unreid.models.timm_backbone import TimmBackbone

    plain = name.removeprefix(TIMM)
    statistics = timm_statistics(plain)
    weights = WeightSource({}, *statistics) if statistics else None
    return BackboneEntry(partial(TimmBackbone, plain), weights)


def create_backbone(name: str, **options: Any) -> nn.Module:
    """The backbone ``name`` with random weights; ``options`` go to its builder (``TypeError`` if it has no such one).

    Example:
        >>> create_backbone("resnet_tiny", width=16).feature_dim
        128
    """
    return find_backbone(name).build(**options)
