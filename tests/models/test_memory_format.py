"""Channels-last on a CPU with few channels: oneDNN's fault kills a process, so the nets run in ones of their own."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn

from unreid.models.base import create_backbone
from unreid.models.memory_format import set_memory_format

STEPS = """
import torch
from unreid.models.base import create_backbone
from unreid.models.memory_format import set_memory_format
torch.set_num_threads(1)
for width in (1, 2, 4, 7, 8, 15):
    torch.manual_seed(0)
    plain = create_backbone("resnet_tiny", width=width, last_stride=2).double()
    last = set_memory_format(create_backbone("resnet_tiny", width=width, last_stride=2), channels_last=True)
    last.load_state_dict(plain.state_dict())
    images = torch.randn(32, 3, 128, 128)
    for net, pixels in ((plain, images.double()), (last, images.contiguous(memory_format=torch.channels_last))):
        net(pixels).square().mean().backward()
    got, want = (torch.cat([p.grad.flatten().double() for p in net.parameters()]) for net in (last, plain))
    error = float((got - want).norm() / want.norm())
    assert error < 1e-2, (width, error)
print("right")
"""


@pytest.mark.parametrize("isa", ["AVX2", "DEFAULT"])
def test_gradients_of_narrow_nets_are_right(isa: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STEPS],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": isa},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and "right" in done.stdout, done.stderr[-2000:]


def strided(model: nn.Module) -> list[str]:
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and max(module.stride) > 1
    ]


def test_only_what_is_in_danger_is_changed() -> None:
    def tiny(width: int) -> nn.Module:
        return create_backbone("resnet_tiny", width=width)

    assert len(strided(tiny(4))) == 3
    assert len(strided(set_memory_format(tiny(4), channels_last=False))) == 3
    assert len(strided(set_memory_format(tiny(16), channels_last=True))) == 3  # 16 channels are a whole block
    assert len(strided(set_memory_format(tiny(4), channels_last=True))) == 1  # its last shortcut has 16
    assert len(strided(set_memory_format(tiny(4), channels_last=False, compiled=True))) == 1


def test_the_guard_changes_no_value_and_survives_copies() -> None:
    torch.manual_seed(0)
    plain = create_backbone("resnet_tiny", width=8).eval()
    guarded = set_memory_format(copy.deepcopy(plain), channels_last=True)
    images = torch.randn(2, 3, 33, 17)
    for net in (guarded, copy.deepcopy(guarded), pickle.loads(pickle.dumps(guarded))):
        assert net.state_dict().keys() == plain.state_dict().keys()
        torch.testing.assert_close(net(images), plain(images), rtol=1e-4, atol=1e-4)
