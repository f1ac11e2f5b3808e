from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import resnet as tv

from unreid.models.base import BACKBONES, create_backbone, register_backbone
from unreid.models.ibn import IBN
from unreid.models.resnet import ResNet
from unreid.utils.errors import UserError


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_with_last_stride_two_it_is_torchvisions_network(name: str) -> None:
    theirs = getattr(tv, name)().eval()
    ours = create_backbone(name, last_stride=2).eval()
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")}, strict=True)
    images = torch.randn(2, 3, 64, 32)
    with torch.inference_mode():
        pooled = ours(images).mean(dim=(2, 3))
        assert torch.allclose(theirs.fc(pooled), theirs(images), atol=1e-5)
    assert ours.feature_dim == theirs.fc.in_features


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet50_ibn_a"])
@pytest.mark.parametrize(("stride", "height"), [(1, 4), (2, 2)])
def test_last_stride_sets_the_size_of_the_map(name: str, stride: int, height: int) -> None:
    with torch.device("meta"):
        net = create_backbone(name, last_stride=stride)
        shape = net(torch.zeros(1, 3, 64, 32)).shape
    assert shape == (1, net.feature_dim, height, height // 2)


def test_the_last_stride_of_a_bottleneck_keeps_the_weights_and_refines_the_map() -> None:
    coarse, fine = create_backbone("resnet18", last_stride=2), create_backbone("resnet18", last_stride=1)
    fine.load_state_dict(coarse.state_dict())
    first, last = fine.layer4[0], coarse.layer4[0]
    assert first.conv1.stride == first.downsample[0].stride == (1, 1)
    assert last.conv1.stride == last.downsample[0].stride == (2, 2)
    assert first.conv2.stride == (1, 1)


def test_an_impossible_last_stride_is_refused() -> None:
    with pytest.raises(ValueError, match="1 or 2"):
        create_backbone("resnet18", last_stride=3)


def test_without_stem_relu_negative_values_reach_the_max_pooling() -> None:
    net = create_backbone("resnet18", stem_relu=False).eval()
    seen = {}
    net.maxpool.register_forward_pre_hook(lambda module, args: seen.update(x=args[0]))
    net(torch.randn(2, 3, 32, 32))
    assert seen["x"].min() < 0
    net.stem_relu = True
    net(torch.randn(2, 3, 32, 32))
    assert seen["x"].min() == 0


def test_ibn_normalises_one_half_by_image_and_the_other_by_batch() -> None:
    layer = IBN(6)
    nn.init.normal_(layer.IN.weight)
    nn.init.normal_(layer.BN.bias)
    x = torch.randn(4, 6, 5, 3)
    first = (x[:, :3] - x[:, :3].mean((2, 3), keepdim=True)) / (
        x[:, :3].var((2, 3), unbiased=False, keepdim=True) + 1e-5
    ).sqrt()
    second = (x[:, 3:] - x[:, 3:].mean((0, 2, 3), keepdim=True)) / (
        x[:, 3:].var((0, 2, 3), unbiased=False, keepdim=True) + 1e-5
    ).sqrt()
    expected = torch.cat(
        (first * layer.IN.weight[:, None, None], second + layer.BN.bias[:, None, None]),
        dim=1,
    )
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_ibn_a_replaces_the_first_norm_up_to_layer3_only() -> None:
    with torch.device("meta"):
        net = create_backbone("resnet50_ibn_a")
    mixed = [name for name, module in net.named_modules() if isinstance(module, IBN)]
    assert len(mixed) == 3 + 4 + 6
    assert all(name.endswith("bn1") and not name.startswith("layer4") for name in mixed)
    assert isinstance(net.bn1, nn.BatchNorm2d)


def test_ibn_b_normalises_stem_and_two_stage_outputs_by_image() -> None:
    net = create_backbone("resnet50_ibn_b").eval()
    norms = [name for name, module in net.named_modules() if isinstance(module, nn.InstanceNorm2d)]
    assert norms == ["bn1", "layer1.2.IN", "layer2.3.IN"]
    block = net.layer1[2]
    x = torch.randn(2, 256, 4, 3)
    seen = {}
    block.IN.register_forward_pre_hook(lambda module, args: seen.update(sum=args[0].clone()))
    out = block(x)
    inner = block.bn3(block.conv3(block.relu(block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x))))))))
    assert torch.allclose(seen["sum"], inner + x, atol=1e-5)
    assert torch.allclose(out, block.IN(inner + x).relu(), atol=1e-5)


def test_the_tiny_network_is_what_the_recipe_says() -> None:
    net = create_backbone("resnet_tiny", last_stride=2)
    assert net(torch.zeros(2, 3, 64, 32)).shape == (2, 128, 4, 2)
    assert 0.30e6 < sum(p.numel() for p in net.parameters()) < 0.32e6
    assert create_backbone("resnet_tiny", width=8, last_stride=1)(torch.zeros(2, 3, 64, 32)).shape == (2, 64, 8, 4)


@pytest.mark.parametrize("name", ["resnet18", "resnet50_ibn_b", "resnet_tiny"])
def test_stages_hold_every_parameter_once(name: str) -> None:
    net = create_backbone(name)
    stages = net.stages()
    assert list(stages) == ["stem", "layer1", "layer2", "layer3", "layer4"]
    found = [id(p) for parts in stages.values() for part in parts for p in part.parameters()]
    assert sorted(found) == sorted(id(p) for p in net.parameters())


def test_channels_last_changes_the_layout_only() -> None:
    net = create_backbone("resnet_tiny").eval()
    images = torch.randn(2, 3, 64, 32)
    plain = net(images)
    fast = net.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    assert fast.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(plain, fast, atol=1e-5)


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="resnet_tiny"):
        create_backbone("resnet51")
    with pytest.raises(KeyError, match="twice"):
        register_backbone("resnet50")(lambda: ResNet(tv.BasicBlock, [1, 1, 1, 1]))


def test_a_variant_is_given_the_options_it_knows() -> None:
    options = {"last_stride": 1, "width": 4, "cameras": 3}
    assert BACKBONES.get("resnet18").accepts(options) == {"last_stride": 1}
    assert BACKBONES.get("vit_small").accepts(options) == {"cameras": 3}
