"""A residual network small enough to be trained from random weights on two CPU cores."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, conv1x1

from unreid.models.base import register_backbone
from unreid.models.resnet import residual_stages


class TinyResNet(nn.Module):
    """Four stages of one basic block over a 3 x 3 stem of stride 2, without max pooling.

    Args:
        width: channels of the first stage; they double from stage to stage.
        last_stride: stride of the last stage, 1 or 2. With 2 a 64 x 32 image gives a 4 x 2 map.
        stem_relu: ReLU after ``bn1``.

    Attributes:
        feature_dim: 8 * width.
    """

    def __init__(self, *, width: int = 16, last_stride: int = 2, stem_relu: bool = True) -> None:
        super().__init__()
        self.feature_dim = 8 * width
        self.stem_relu = stem_relu
        self.last_stride = last_stride
        self.conv1 = nn.Conv2d(3, width, kernel_size=3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(BasicBlock(width, width))
        self.layer2 = _stage(width, 2 * width, 2)
        self.layer3 = _stage(2 * width, 4 * width, 2)
        self.layer4 = _stage(4 * width, 8 * width, last_stride)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """float (N, 3, H, W) -> float (N, feature_dim, H / 16, W / 16), or / 8 with last stride 1."""
        x = self.bn1(self.conv1(x))
        if self.stem_relu:
            x = self.relu(x)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def stages(self) -> dict[str, list[nn.Module | nn.Parameter]]:
        return residual_stages(self)


def _stage(inplanes: int, planes: int, stride: int) -> nn.Sequential:
    shortcut = nn.Sequential(conv1x1(inplanes, planes, stride), nn.BatchNorm2d(planes))
    return nn.Sequential(BasicBlock(inplanes, planes, stride, shortcut))


@register_backbone("resnet_tiny")
def resnet_tiny(*, width: int = 16, last_stride: int = 2, stem_relu: bool = True) -> TinyResNet:
    """The network of the embedded synthetic benchmark, 0.31 M parameters at width 16."""
    return TinyResNet(width=width, last_stride=last_stride, stem_relu=stem_relu)
