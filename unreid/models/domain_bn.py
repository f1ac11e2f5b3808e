"""BatchNorm of two domains: statistics and affine parameters of their own for a labelled source and the target.

Domain-specific batch normalisation (Chang et al., CVPR 2019), as SpCL trains it for domain adaptation. The target's
layer keeps the plain names, the source's hangs below it as ``.source.``; what is evaluated is the network without it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unreid.models.batch_norm import ChunkedBatchNorm1d, ChunkedBatchNorm2d, _ChunkedBatchNorm, twin_of
from unreid.utils.errors import UserError

SOURCE = ".source."
"""Stands in the names of a source's tensors, after the name of the target's layer."""


class _DomainBatchNorm(_ChunkedBatchNorm):
    """The target's layer. In a joint batch the first half goes through ``source``, the second through this layer."""

    source: _BatchNorm
    joint = False

    def forward(self, x: Tensor) -> Tensor:
        """float (N, C, ...) -> same shape; N even in a joint training batch."""
        if not (self.training and self.joint):
            return super().forward(x)
        if len(x) % 2:
            raise ValueError(f"a joint batch has as many source as target samples, so {len(x)} cannot be one")
        source, target = x.chunk(2)
        return torch.cat([self.source(source), super().forward(target)])


class DomainBatchNorm1d(_DomainBatchNorm, ChunkedBatchNorm1d):
    """See :func:`split_domains`."""


class DomainBatchNorm2d(_DomainBatchNorm, ChunkedBatchNorm2d):
    """See :func:`split_domains`."""


_KINDS: dict[type[nn.Module], type[_DomainBatchNorm]] = {
    nn.BatchNorm1d: DomainBatchNorm1d,
    nn.BatchNorm2d: DomainBatchNorm2d,
    ChunkedBatchNorm1d: DomainBatchNorm1d,
    ChunkedBatchNorm2d: DomainBatchNorm2d,
}


def split_domains(model: nn.Module) -> nn.Module:
    """Gives every BatchNorm1d and 2d inside ``model`` a copy for the source, in place; returns the model.

    Raises:
        UserError: it holds ``SyncBatchNorm``, whose statistics know no domains.
    """
    for parent in list(model.modules()):
        if isinstance(parent, nn.SyncBatchNorm):
            raise UserError("MODEL.SYNC_BN and MODEL.DOMAIN_BN exclude each other: switch one of them off.")
        for name, child in list(parent.named_children()):
            if type(child) in _KINDS:
                setattr(parent, name, _split(child))
    return model


def start_source(model: nn.Module) -> None:
    """Lets the source's layers begin as copies of the target's, as where a trained network is split."""
    for layer in _layers(model):
        own = {key: value for key, value in layer.state_dict().items() if not key.startswith(SOURCE[1:])}
        layer.source.load_state_dict(own)


@contextmanager
def joint_batches(model: nn.Module) -> Iterator[None]:
    """Batches in between are joint: the source's samples first, then equally many of the target."""
    layers = list(_layers(model))
    for layer in layers:
        layer.joint = True
    try:
        yield
    finally:
        for layer in layers:
            layer.joint = False


def fit_domains(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file for a network with or without a source's layers.

    Those of the source are left out where the network has none; where the file has none they begin as the target's.
    """
    fitted = {key: value for key, value in state.items() if SOURCE not in key or key in expected}
    for key in expected:
        target = key.replace(SOURCE, ".")
        if SOURCE in key and key not in fitted and target in fitted:
            fitted[key] = fitted[target]
    return fitted


def _layers(model: nn.Module) -> Iterator[_DomainBatchNorm]:
    return (module for module in model.modules() if isinstance(module, _DomainBatchNorm))


def _split(layer: nn.Module) -> _DomainBatchNorm:
    """The two-domain twin of a layer: the target keeps its parameter and buffer objects, the source gets copies."""
    twin = twin_of(layer, _KINDS, getattr(layer, "chunks", 1))
    twin.source = copy.deepcopy(layer)  # type: ignore[assignment]
    return twin
