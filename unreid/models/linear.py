"""Linear layers by the faster library of PyTorch's (see :mod:`unreid.utils.products`)."""

from __future__ import annotations

from torch import Tensor, nn

from unreid.utils.products import linear


class FastLinear(nn.Linear):
    """``nn.Linear``, its names and its values but for the order of the sums."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def speed_up_linear_layers(model: nn.Module) -> nn.Module:
    """Lets the linear layers of any network, also of other packages, use :class:`FastLinear`; returns ``model``.

    The modules stay the same objects, with their hooks; subclasses of ``nn.Linear`` are left alone.
    """
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = FastLinear
    return model
