"""BatchNorm statistics: over parts of a batch, over all processes, and re-estimated without labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from unreid.utils.distributed import get_world_size
from unreid.utils.errors import UserError


class _ChunkedBatchNorm(_BatchNorm):
    """BatchNorm that in training mode normalises ``chunks`` equal consecutive parts of the batch separately.

    The running statistics follow the first part. That is what n replicas under ``DataParallel`` compute, and what the
    published runs on several GPUs were trained with. In eval mode nothing differs from plain BatchNorm.
    """

    chunks = 1

    def forward(self, x: Tensor) -> Tensor:
        """float (N, C, ...) with N divisible by ``chunks`` in training mode -> same shape."""
        if not self.training or self.chunks == 1:
            return super().forward(x)
        check_chunks(len(x), self.chunks)
        # A kernel per part and one concatenation: measured faster than folding the parts into the channels, which
        # needs a transposed copy of input and output.
        first, *others = x.chunk(self.chunks)
        rest = [F.batch_norm(part, None, None, self.weight, self.bias, True, 0.0, self.eps) for part in others]
        return torch.cat([super().forward(first), *rest])

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, chunks={self.chunks}"


T = TypeVar("T", bound=_ChunkedBatchNorm)


class ChunkedBatchNorm1d(_ChunkedBatchNorm, nn.BatchNorm1d):
    """See :func:`chunk_batch_norm`."""


class ChunkedBatchNorm2d(_ChunkedBatchNorm, nn.BatchNorm2d):
    """See :func:`chunk_batch_norm`."""


_CHUNKED: dict[type[nn.Module], type[_ChunkedBatchNorm]] = {
    nn.BatchNorm1d: ChunkedBatchNorm1d,
    nn.BatchNorm2d: ChunkedBatchNorm2d,
}


def check_chunks(samples: int, chunks: int) -> None:
    """Raises ``ValueError`` unless ``samples`` (clips of a training batch) fall into ``chunks`` equal parts."""
    if samples % chunks:
        raise ValueError(
            f"a training batch of {samples} samples does not divide into {chunks} BN chunks: choose "
            "DATALOADER.TRAIN_BATCH_SIZE as a multiple of MODEL.BN_CHUNKS"
        )


def chunks_per_process(total: int) -> int:
    """Chunks of this process's part of the batch when the global batch has ``total``.

    One chunk means plain BatchNorm over the local batch, however many processes there are.

    Raises:
        UserError: ``total`` > 1 is no multiple of the number of processes.
    """
    if total == 1:
        return 1
    world = get_world_size()
    if total % world:
        raise UserError(f"MODEL.BN_CHUNKS {total} must be a multiple of the {world} processes, or 1.")
    return total // world


def chunk_batch_norm(model: nn.Module, chunks: int) -> nn.Module:
    """Turns every BatchNorm1d and 2d inside ``model`` into its chunked form, in place; returns the model.

    Parameters, buffers and their names stay, so optimisers and checkpoints do not notice. 1 changes nothing.

    Args:
        model: any module that is not itself a BatchNorm.
        chunks: parts of a training batch; batches must divide evenly.
    """
    if chunks < 1:
        raise ValueError(f"the number of BN chunks is at least 1, not {chunks}")
    if chunks == 1:
        return model
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) in _CHUNKED:
                setattr(parent, name, twin_of(child, _CHUNKED, chunks))
    return model


def synchronize_batch_norm(model: nn.Module) -> nn.Module:
    """Replaces the BatchNorm layers inside ``model`` by ``SyncBatchNorm``, in place; returns the model."""
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


@torch.no_grad()
def recalibrate_bn(model: nn.Module, batches: Iterable[Tensor]) -> int:
    """Re-estimates the running statistics of every trained-mode BatchNorm as plain means over some batches.

    No label is used. Layers that stay in eval mode when the model trains (frozen stages) keep their statistics; BN
    chunks are ignored, so that all images count. Mode, momentum and chunks are restored.

    Args:
        model: network whose ``forward`` takes images.
        batches: image batches, float (N, 3, H, W), on the model's device.

    Returns:
        The number of batches.

    Raises:
        ValueError: there are none.
    """
    iterator = iter(batches)
    first = next(iterator, None)
    if first is None:
        raise ValueError("BN statistics cannot be re-estimated from no batch at all")
    was_training = model.training
    model.train()
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    settings = [(layer.momentum, getattr(layer, "chunks", 1)) for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # cumulative average
        if isinstance(layer, _ChunkedBatchNorm):
            layer.chunks = 1
    count = 0
    try:
        for images in chain([first], iterator):
            model(images)
            count += 1
    finally:
        for layer, (momentum, chunks) in zip(layers, settings, strict=True):
            layer.momentum = momentum
            if isinstance(layer, _ChunkedBatchNorm):
                layer.chunks = chunks
        model.train(was_training)
    return count


def twin_of(layer: nn.Module, kinds: Mapping[type[nn.Module], type[T]], chunks: int) -> T:
    """The layer that ``kinds`` has for a BatchNorm layer, with the same parameter and buffer objects."""
    assert isinstance(layer, _BatchNorm)
    twin = kinds[type(layer)](layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
    twin.weight, twin.bias = layer.weight, layer.bias
    twin.running_mean, twin.running_var = layer.running_mean, layer.running_var
    twin.num_batches_tracked = layer.num_batches_tracked
    twin.chunks = chunks
    twin.train(layer.training)
    return twin
