"""BatchNorm that an exporter folded into the convolution before it: taken apart again, so that it can be trained.

A folded convolution computes ``y = w x + b``. The layer pair of the network gets the weight ``w`` and a BatchNorm that
adds ``b`` (scale 1, mean 0, variance 1 - eps), which is the same function as long as the stored statistics are used.
Training uses those of the batch instead, and would make every channel as strong as every other. From the mean m and
variance v of ``w x`` over some images follow the scale ``sqrt(v + eps)`` and the bias ``b + m``, which leave the
function alone and are what the folding has hidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def unfold(state: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """``state`` with a BatchNorm for every convolution that has a bias there and none in ``net``.

    Args:
        state: tensors by name; what is not folded passes.
        net: the network whose names they bear; it may lie on the device "meta".
    """
    plain = dict(state)
    for convolution, norm in _pairs(net):
        bias = plain.get(f"{convolution}.bias")
        if bias is None or f"{norm}.bias" in plain:
            continue
        del plain[f"{convolution}.bias"]
        layer = net.get_submodule(norm)
        assert isinstance(layer, _BatchNorm)
        plain[f"{norm}.bias"] = bias
        plain[f"{norm}.weight"] = torch.ones_like(bias)
        plain[f"{norm}.running_mean"] = torch.zeros_like(bias)
        plain[f"{norm}.running_var"] = torch.full_like(bias, 1 - layer.eps)
        plain[f"{norm}.num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
    return plain


def folded_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """The BatchNorm layers that :func:`unfold` made and :func:`settle` has not seen, by name.

    A fresh layer has variance 1, and a trained one no mean of exactly 0 in every channel.
    """
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm)
        and module.running_mean is not None
        and module.running_var is not None
        and not module.running_mean.any()
        and bool((module.running_var == torch.full_like(module.running_var, 1 - module.eps)).all())
    }


@torch.no_grad()
def settle(model: nn.Module, batches: Iterable[Tensor]) -> int:
    """Gives folded BatchNorm layers statistics, scale and bias from some images; the function stays the same.

    Args:
        model: network whose ``forward`` takes images.
        batches: float (N, 3, H, W) on its device.

    Returns:
        The number of layers. Without any, no batch is asked for.

    Raises:
        ValueError: there is no batch.
    """
    layers = folded_norms(model)
    if not layers:
        return 0
    sums = {name: torch.zeros(3, layer.num_features, dtype=torch.float64) for name, layer in layers.items()}
    handles = [layer.register_forward_pre_hook(_adder(sums[name])) for name, layer in layers.items()]
    was_training = model.training
    model.eval()
    seen = 0
    try:
        for images in batches:
            model(images)
            seen += len(images)
    finally:
        for handle in handles:
            handle.remove()
        model.train(was_training)
    if not seen:
        raise ValueError("the statistics of folded BatchNorm layers cannot be estimated from no batch at all")
    for name, layer in layers.items():
        count, total, squares = sums[name]
        mean = total / count
        variance = (squares / count - mean**2).clamp(min=0)
        assert layer.running_mean is not None and layer.running_var is not None
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(variance)
        layer.weight.copy_((layer.running_var.double() + layer.eps).sqrt())
        layer.bias.add_(layer.running_mean)
    return len(layers)


def _pairs(net: nn.Module) -> list[tuple[str, str]]:
    """(convolution without bias, BatchNorm after it) by name, in the order in which their parent holds them."""
    pairs = []
    before = ""
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            before = name if module.bias is None else ""
        elif isinstance(module, _BatchNorm):
            if before and before.rpartition(".")[0] == name.rpartition(".")[0]:
                pairs.append((before, name))
            before = ""
    return pairs


def _adder(sums: Tensor):  # type: ignore[no-untyped-def]
    def add(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].detach().transpose(0, 1).flatten(1).double()
        sums[0] += values.shape[1]
        sums[1] += values.sum(1).cpu()
        sums[2] += values.square().sum(1).cpu()

    return add
