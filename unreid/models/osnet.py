"""OSNet, the light network of person re-identification (Zhou et al., ICCV 2019; with instance norm: TPAMI 2021).

Parameter names are those of torchreid's checkpoints, whose ``fc.*`` is the embedding layer here (``MODEL.EMBED_LAYER
fc``) and whose ``classifier.*`` is left out. The variants with "ibn" normalise the stem and the sums of the first stage
by image; those with "ain" normalise by image inside the residual branches that an architecture search chose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from unreid.models.base import BACKBONES, register_backbone
from unreid.utils.errors import UserError

CHANNELS = (64, 256, 384, 512)
"""Of the stem and of the three stages, at width 1."""
WIDTHS = {"x1_0": 1.0, "x0_75": 0.75, "x0_5": 0.5, "x0_25": 0.25}
AIN = ((True, True), (False, True), (True, False))
"""Blocks with instance norm inside the branch, by stage: the result of the search."""
PARTS = ("conv1", "conv2", "pool2", "conv3", "pool3", "conv4", "conv5")
"""First words of the parameter names."""
_BRANCHES = "abcd"
_REDUCTION = 4  # of channels inside a block
_GATE_REDUCTION = 16


class ConvNorm(nn.Module):
    """Convolution without bias, norm, and ReLU unless ``linear``."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = norm(outputs)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        """float (N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        x = self.bn(self.conv(x))
        return x if self.linear else F.relu(x, inplace=True)


class LightConv(nn.Module):
    """A 3 x 3 convolution taken apart into a pointwise and a depthwise one, norm and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """float (N, channels, H, W) -> same shape."""
        return F.relu(self.bn(self.conv2(self.conv1(x))), inplace=True)


class LightStream(nn.Module):
    """``depth`` light convolutions after each other, under the name that the AIN checkpoints give them."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(LightConv(channels) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        """float (N, channels, H, W) -> same shape."""
        return self.layers(x)


class Gate(nn.Module):
    """Weights channels by a small network on their means; shared by all branches of a block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // _GATE_REDUCTION, 1)
        self.fc2 = nn.Conv2d(channels // _GATE_REDUCTION, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """float (N, channels, H, W) -> same shape."""
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * self.fc2(F.relu(self.fc1(means))).sigmoid()


class OmniScaleBlock(nn.Module):
    """Residual block whose branch is a gated sum of four scales: one to four light convolutions.

    Args:
        inputs, outputs: channels.
        sum_norm: instance norm of the sum (IBN).
        searched: named as in the AIN checkpoints.
        branch_norm: instance norm instead of BatchNorm at the end of the branch (AIN).
    """

    def __init__(
        self, inputs: int, outputs: int, *, sum_norm: bool = False, searched: bool = False, branch_norm: bool = False
    ) -> None:
        super().__init__()
        middle = outputs // _REDUCTION
        self.conv1 = ConvNorm(inputs, middle)
        self.searched = searched
        if searched:
            self.conv2 = nn.ModuleList(LightStream(middle, depth) for depth in range(1, 5))
        else:
            self.conv2a = LightConv(middle)
            for depth, letter in enumerate(_BRANCHES[1:], start=2):
                setattr(self, f"conv2{letter}", nn.Sequential(*(LightConv(middle) for _ in range(depth))))
        self.gate = Gate(middle)
        self.conv3 = ConvNorm(middle, outputs, linear=True)
        if branch_norm:
            self.conv3.bn = nn.Identity()
        self.downsample = ConvNorm(inputs, outputs, linear=True) if inputs != outputs else None
        self.branch_norm = branch_norm
        self.IN = nn.InstanceNorm2d(outputs, affine=True) if sum_norm or branch_norm else None

    def forward(self, x: Tensor) -> Tensor:
        """float (N, inputs, H, W) -> (N, outputs, H, W)."""
        reduced = self.conv1(x)
        streams = self.conv2 if self.searched else [getattr(self, f"conv2{letter}") for letter in _BRANCHES]
        out = self.conv3(sum(self.gate(stream(reduced)) for stream in streams))
        if self.IN is not None and self.branch_norm:
            out = self.IN(out)
        out = out + (x if self.downsample is None else self.downsample(x))
        if self.IN is not None and not self.branch_norm:
            out = self.IN(out)
        return F.relu(out, inplace=True)


class OSNet(nn.Module):
    """OSNet up to its last map.

    Args:
        width: of all layers, 1, 0.75, 0.5 or 0.25 in the published networks.
        instance_norm: "", "ibn" or "ain".
        last_stride: 1; the last stage of this network has no stride, its map is 1 / 16 of the image a side.

    Attributes:
        feature_dim: 512 * width.
    """

    def __init__(self, *, width: float = 1.0, instance_norm: str = "", last_stride: int = 1) -> None:
        if last_stride != 1:
            raise UserError(
                f"OSNet has no stride in its last stage: set MODEL.BACKBONE.LAST_STRIDE 1 instead of {last_stride}."
            )
        super().__init__()
        stem, *stages = (int(width * channels) for channels in CHANNELS)
        searched = instance_norm == "ain"
        self.feature_dim = stages[-1]
        self.conv1 = ConvNorm(
            3, stem, 7, 2, norm=partial(nn.InstanceNorm2d, affine=True) if instance_norm else nn.BatchNorm2d
        )
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = stem
        for number, outputs in enumerate(stages):
            blocks: list[nn.Module] = [
                OmniScaleBlock(
                    inputs if first else outputs,
                    outputs,
                    sum_norm=instance_norm == "ibn" and number == 0,
                    searched=searched,
                    branch_norm=searched and AIN[number][not first],
                )
                for first in (True, False)
            ]
            inputs = outputs
            shrink = nn.Sequential(ConvNorm(outputs, outputs), nn.AvgPool2d(2)) if number < 2 else None
            if shrink is not None and not searched:
                blocks.append(shrink)
            setattr(self, f"conv{number + 2}", nn.Sequential(*blocks))
            if searched and shrink is not None:
                setattr(self, f"pool{number + 2}", shrink)
        self.conv5 = ConvNorm(inputs, inputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """float (N, 3, H, W) -> float (N, feature_dim, H / 16, W / 16)."""
        for parts in self.stages().values():
            for part in parts:
                x = part(x)  # type: ignore[operator]
        return x

    def stages(self) -> dict[str, list[nn.Module | nn.Parameter]]:
        """Three stages as "layer1" to "layer3", the last pointwise convolution as "layer4"; see ``base.Backbone``."""
        names = {
            "stem": ("conv1", "maxpool"),
            "layer1": ("conv2", "pool2"),
            "layer2": ("conv3", "pool3"),
            "layer3": ("conv4",),
            "layer4": ("conv5",),
        }
        children = dict(self.named_children())
        return {stage: [children[name] for name in parts if name in children] for stage, parts in names.items()}


def name_of(state: Mapping[str, Tensor]) -> str:
    """The registered name of the OSNet whose tensors ``state`` holds; "" if they are none's."""
    stem, block = state.get("conv1.conv.weight"), state.get("conv2.0.conv1.conv.weight")
    if stem is None or block is None or stem.ndim != 4:
        return ""
    size = {int(CHANNELS[0] * width): size for size, width in WIDTHS.items()}.get(len(stem))
    kind = (
        "ain_" if "conv2.0.conv2.0.layers.0.conv1.weight" in state else "ibn_" if "conv2.0.IN.weight" in state else ""
    )
    name = f"osnet_{kind}{size}"
    return name if name in BACKBONES else ""


def _register(name: str, width: float, instance_norm: str) -> None:
    def build(*, last_stride: int = 1) -> OSNet:
        return OSNet(width=width, instance_norm=instance_norm, last_stride=last_stride)

    build.__doc__ = (
        f"OSNet{f'-{instance_norm.upper()}' if instance_norm else ''} x{width:g}, {int(512 * width)} channels."
    )
    register_backbone(name)(build)


for _size, _width in WIDTHS.items():
    _register(f"osnet_{_size}", _width, "")
    _register(f"osnet_ain_{_size}", _width, "ain")
_register("osnet_ibn_x1_0", 1.0, "ibn")
