"""ResNet-18/34/50/101: torchvision's networks cut before pooling, with the two changes of re-identification."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models import resnet as tv

from unreid.models.base import WeightSource, register_backbone


class ResNet(tv.ResNet):
    """torchvision's ResNet without pooling and classifier; parameter names are torchvision's.

    Args:
        block: residual block class of torchvision.
        layers: blocks per stage.
        last_stride: stride of the last stage, 1 or 2; 1 doubles the map (16 x 8 for a 256 x 128 image).
        stem_relu: ReLU between ``bn1`` and ``maxpool``. The published AuxUSL weights were trained without it.
        stem_ceil: ``maxpool`` overhangs at the lower right instead of padding all around, as in fast-reid.

    Attributes:
        feature_dim: channels of the map, 512 (basic blocks) or 2048 (bottlenecks).
    """

    def __init__(
        self,
        block: type[tv.BasicBlock] | type[tv.Bottleneck],
        layers: list[int],
        *,
        last_stride: int = 1,
        stem_relu: bool = True,
        stem_ceil: bool = False,
    ) -> None:
        super().__init__(block, layers)
        self.feature_dim: int = self.fc.in_features
        self.stem_relu = stem_relu
        self.last_stride = last_stride
        self.stem_ceil = stem_ceil
        if stem_ceil:
            self.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        del self.avgpool, self.fc
        set_last_stride(self.layer4, last_stride)

    def forward(self, x: Tensor) -> Tensor:
        """float (N, 3, H, W) -> float (N, feature_dim, H / 16, W / 16), or / 32 with last stride 2."""
        x = self.bn1(self.conv1(x))
        if self.stem_relu:
            x = self.relu(x)
        x = self.maxpool(x)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def stages(self) -> dict[str, list[nn.Module | nn.Parameter]]:
        return residual_stages(self)


def set_last_stride(stage: nn.Sequential, stride: int) -> None:
    """Sets the stride of a stage's first block, shortcut included.

    A bottleneck strides in ``conv2`` (torchvision's form), a basic block in ``conv1``.
    """
    if stride not in (1, 2):
        raise ValueError(f"the last stride is 1 or 2, not {stride}")
    first = stage[0]
    assert isinstance(first, tv.BasicBlock | tv.Bottleneck)
    conv = first.conv2 if isinstance(first, tv.Bottleneck) else first.conv1
    conv.stride = (stride, stride)
    if first.downsample is not None:
        first.downsample[0].stride = (stride, stride)


def residual_stages(net: nn.Module) -> dict[str, list[nn.Module | nn.Parameter]]:
    """Stages of a network with torchvision's attribute names."""
    parts = {"stem": ("conv1", "bn1")} | {name: (name,) for name in ("layer1", "layer2", "layer3", "layer4")}
    return {stage: [net.get_submodule(name) for name in names] for stage, names in parts.items()}


def _register(title: str, layers: list[int], *versions: str, bottlenecks: bool = True) -> None:
    """A variant, with the weights that torchvision publishes for it."""
    block = tv.Bottleneck if bottlenecks else tv.BasicBlock
    name = title.replace("-", "")
    weights = {version: f"torchvision:{name}_Weights.IMAGENET1K_{version}" for version in versions}

    def build(*, last_stride: int = 1, stem_relu: bool = True, stem_ceil: bool = False) -> ResNet:
        return ResNet(block, layers, last_stride=last_stride, stem_relu=stem_relu, stem_ceil=stem_ceil)

    build.__doc__ = f"{title}, {512 * block.expansion} channels."
    register_backbone(name.lower(), weights=WeightSource(weights))(build)


_register("ResNet-18", [2, 2, 2, 2], "V1", bottlenecks=False)
_register("ResNet-34", [3, 4, 6, 3], "V1", bottlenecks=False)
_register("ResNet-50", [3, 4, 6, 3], "V1", "V2")
_register("ResNet-101", [3, 4, 23, 3], "V1", "V2")
