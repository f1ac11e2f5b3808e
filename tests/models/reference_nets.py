"""The networks of the published repositories, as far as their tensor names go, built from torchvision's modules."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet as tv

from unreid.models.ibn import IBN

KEYS = Path(__file__).parents[1] / "golden" / "data" / "common" / "state_dict_keys.json"


@cache
def variants() -> dict[str, dict[str, Any]]:
    """Variant name -> repository, constructor arguments and (name, shape, dtype) of every tensor."""
    return json.loads(KEYS.read_text())


def random_state(variant: str) -> dict[str, Tensor]:
    """Random tensors with a variant's names and shapes, small enough to keep activations finite."""
    generator = torch.Generator().manual_seed(3)
    state = {}
    for name, shape, dtype in variants()[variant]["keys"]:
        if dtype == "int64":
            state[name] = torch.tensor(7)
        elif len(shape) == 1:
            state[name] = torch.rand(shape, generator=generator) + 0.5
            if name.endswith(("bias", "running_mean")):
                state[name] -= 1.0
        else:
            bound = (6 / torch.tensor(shape[1:]).prod().item()) ** 0.5
            state[name] = (torch.rand(shape, generator=generator) * 2 - 1) * bound
        if name == "gap.p":
            state[name] = torch.tensor([2.5])
    return state


def named_state(variant: str) -> dict[str, Tensor]:
    """Tensors with a variant's names and shapes that hold no memory."""
    return {name: torch.zeros(()).expand(shape) for name, shape, _ in variants()[variant]["keys"]}


def torchvision_net(arch: str, last_stride: int) -> tv.ResNet:
    """ResNet-18, 50 or 50 with IBN-a, with its last stride patched where it is 1."""
    net = tv.resnet18() if arch == "resnet18" else tv.resnet50()
    if "ibn" in arch:
        for block in (*net.layer1, *net.layer2, *net.layer3):
            block.bn1 = IBN(block.bn1.num_features)
    if last_stride == 1:
        net.layer4[0].conv2.stride = net.layer4[0].downsample[0].stride = (1, 1)
    return net


def plain_forward(variant: str, state: dict[str, Tensor], images: Tensor) -> dict[str, Tensor]:
    """Eval-mode features of single images by the repository's own arrangement of the modules."""
    entry = variants()[variant]
    repository, constructor = entry["reference"], entry["constructor"]
    arch = constructor.get("arch", "resnet50")
    net = torchvision_net(arch, 2 if repository in ("AuxUSL", "BUC") or arch == "resnet18" else 1)
    if repository == "BUC":
        net.load_state_dict({k.removeprefix("CNN.base."): v for k, v in state.items() if k.startswith("CNN.base.")})
        base: nn.Module = nn.Sequential(*list(net.children())[:-2])
        neck, linear = "avg_pooling.embeding_bn.", "avg_pooling.embeding."
    else:
        relu = [] if repository == "AuxUSL" else [net.relu]
        base = nn.Sequential(net.conv1, net.bn1, *relu, net.maxpool, net.layer1, net.layer2, net.layer3, net.layer4)
        base.load_state_dict({k.removeprefix("base."): v for k, v in state.items() if k.startswith("base.")})
        neck, linear = "feat_bn.", "feat."
    maps = base.eval()(images)
    pooled = {
        "gem": lambda: maps.clamp(min=1e-6).pow(2.5).mean((2, 3)).pow(1 / 2.5),
        "max": lambda: maps.amax((2, 3)),
        "avg": lambda: maps.mean((2, 3)),
    }[constructor.get("pooling_type", "avg")]()
    x = pooled
    if f"{linear}weight" in state:
        x = F.linear(x, state[f"{linear}weight"], state.get(f"{linear}bias"))
    x = F.batch_norm(
        x, state[f"{neck}running_mean"], state[f"{neck}running_var"], state[f"{neck}weight"], state[f"{neck}bias"]
    )
    return {"pooled": pooled, "embedding": F.normalize(x)}
