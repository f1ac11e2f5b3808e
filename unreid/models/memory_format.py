"""The memory format of a network's weights, and the one layer that must not meet channels-last on a CPU.

oneDNN's 1 x 1 convolution of stride above 1 writes past its workspace in the backward pass when images are stored
channels last and have fewer channels than one block of its kernel (8 with AVX2, 16 with AVX-512): the process crashes,
hangs, or goes on with wrong gradients. ``docs/reliability.md`` ("Reported upstream") has the cause and the versions.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

ONEDNN_BLOCK = 16  # channels of oneDNN's largest block of float32 values (AVX-512)


def set_memory_format(model: nn.Module, *, channels_last: bool, compiled: bool = False) -> nn.Module:
    """Stores the weights in the memory format and steers clear of oneDNN's fault; returns ``model``.

    Args:
        model: already on its device.
        channels_last: NHWC instead of NCHW.
        compiled: ``torch.compile`` will run it, which chooses channels-last on a CPU by itself.
    """
    model.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    if channels_last or compiled:
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and _overruns(module):
                # Every stride-th pixel is taken before the convolution instead of inside it: the same values.
                module.register_forward_pre_hook(partial(_thin, stride=module.stride))
                module.stride = (1, 1)
    return model


def _overruns(convolution: nn.Conv2d) -> bool:
    strided_pointwise = convolution.kernel_size == (1, 1) and max(convolution.stride) > 1
    padded = convolution.padding not in ((0, 0), "valid")  # oneDNN then takes another kernel
    few = convolution.in_channels // convolution.groups < ONEDNN_BLOCK
    return strided_pointwise and not padded and few and convolution.weight.device.type == "cpu"


def _thin(_: nn.Module, images: tuple[Tensor], *, stride: tuple[int, ...]) -> tuple[Tensor]:
    return (images[0][:, :, :: stride[0], :: stride[1]],)
