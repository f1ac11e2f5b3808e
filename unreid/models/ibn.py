"""IBN-Net: residual networks that mix instance and batch normalisation (Pan et al., ECCV 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from unreid.models.base import WeightSource, register_backbone
from unreid.models.resnet import ResNet

_RELEASE = "https://github.com/XingangPan/IBN-Net/releases/download/v1.0/"


class IBN(nn.Module):
    """First half of the channels InstanceNorm (affine, no running statistics), second half BatchNorm.

    The attribute names are those of IBN-Net, whose weight files carry them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.split_at = channels // 2
        self.IN = nn.InstanceNorm2d(self.split_at, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.split_at)

    def forward(self, x: Tensor) -> Tensor:
        """float (N, channels, H, W) -> same shape."""
        first, second = x.split((self.split_at, x.shape[1] - self.split_at), dim=1)
        return torch.cat((self.IN(first), self.BN(second)), dim=1)


class OutputNormBottleneck(Bottleneck):
    """Bottleneck with an affine InstanceNorm between the residual sum and the last ReLU (IBN-b)."""

    def __init__(self, inplanes: int, planes: int) -> None:
        super().__init__(inplanes, planes)
        self.IN = nn.InstanceNorm2d(planes * self.expansion, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """float (N, inplanes, H, W) -> same shape."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.relu(self.IN(self.bn3(self.conv3(out)) + x))


def to_ibn_a(net: ResNet) -> ResNet:
    """Replaces the first norm of every bottleneck of layer1 to layer3; layer4 keeps plain BatchNorm."""
    for stage in (net.layer1, net.layer2, net.layer3):
        for block in stage:
            assert isinstance(block, Bottleneck)
            block.bn1 = IBN(block.conv1.out_channels)
    return net


def to_ibn_b(net: ResNet) -> ResNet:
    """InstanceNorm as stem norm, and after the residual sum of the last block of layer1 and layer2."""
    net.bn1 = nn.InstanceNorm2d(net.conv1.out_channels, affine=True)
    for stage in (net.layer1, net.layer2):
        planes = stage[-1].conv1.out_channels
        block = OutputNormBottleneck(planes * Bottleneck.expansion, planes)
        for conv in (block.conv1, block.conv2, block.conv3):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        stage[-1] = block
    return net


def _register(kind: str, depth: int, layers: list[int], digest: str) -> None:
    """A variant, with the weights of IBN-Net's release."""
    name = f"resnet{depth}_ibn_{kind}"
    change = to_ibn_a if kind == "a" else to_ibn_b

    def build(*, last_stride: int = 1, stem_relu: bool = True, stem_ceil: bool = False) -> ResNet:
        return change(ResNet(Bottleneck, layers, last_stride=last_stride, stem_relu=stem_relu, stem_ceil=stem_ceil))

    build.__doc__ = f"ResNet-{depth} IBN-{kind}, 2048 channels."
    register_backbone(name, weights=WeightSource({"V1": f"{_RELEASE}{name}-{digest}.pth"}))(build)


_register("a", 50, [3, 4, 6, 3], "d9d0bb7b")
_register("a", 101, [3, 4, 23, 3], "59ea0ac6")
_register("b", 50, [3, 4, 6, 3], "9ca61e85")
