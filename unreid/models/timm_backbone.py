"""Any network of timm as a backbone: ``MODEL.BACKBONE.NAME timm/NAME``."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unreid.models.last_stride import last_reductions, refine_last_stage
from unreid.models.timm_network import adapted, by_order, create, needed_size, stages_of
from unreid.utils.errors import UserError
from unreid.utils.pixels import TIMM

logger = logging.getLogger(__name__)

_SILENT = (nn.Identity, nn.Dropout, nn.Dropout2d)
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.GELU, nn.Mish, nn.LeakyReLU, nn.ELU)


class TimmBackbone(nn.Module):
    """A network of timm up to its last feature map, or up to the vector that it pools by itself.

    Parameters that this does not depend on (a head between pooling and classifier) are frozen.

    Args:
        name: as timm lists it, with or without a tag of weights ("vit_base_patch16_clip_224.openai").
        image_size: height and width of training images, in pixels.
        test_size: those of test images, if they differ.
        own_stride: stride of the last stage: 1 or 2; 0: 1 where the network can, else its own.
        output: "map": the last map, or the grid of tokens; "pooled": the network's own vector (class token, attention
            pooling, norm after pooling) as a map of one position; "auto": "pooled" for tokens, "map" for maps.

    Attributes:
        inner: the network itself, whose names weight files bear.
        feature_dim: channels.
        signed_output: features may be clearly negative, so GeM pooling would cut them.

    Raises:
        UserError: timm has no such network, it does not take images of that size, or cannot do what is asked.
    """

    def __init__(
        self,
        name: str,
        *,
        image_size: tuple[int, int] = (256, 128),
        test_size: tuple[int, int] | None = None,
        own_stride: int = 0,
        output: str = "auto",
    ) -> None:
        super().__init__()
        self.name = name
        self.inner: Any = create(name, image_size)
        self.output = output
        network: Any = self.inner
        found = self._try(image_size, network.forward_features)
        tokens = not (isinstance(found, Tensor) and found.ndim == 4)
        if output == "auto":
            self.output = "pooled" if tokens else "map"
        self._set_stride(own_stride, image_size, tokens)
        features, self.signed_output = self._watched(image_size)
        self.feature_dim = int(features.shape[1])
        if test_size is not None and test_size != image_size:
            self._try(test_size, self.forward)
        used = _inputs_of(features)
        for parameter in self.parameters():
            if parameter not in used:
                parameter.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """float (N, 3, H, W) -> float (N, feature_dim, h, w)."""
        features = self.inner.forward_features(x)
        if self.output == "pooled":
            return self.inner.forward_head(features, pre_logits=True)[:, :, None, None]
        return to_map(features, self.inner, (int(x.shape[2]), int(x.shape[3])), self.name)

    def stages(self) -> dict[str, list[nn.Module | nn.Parameter]]:
        """Stem and four parts of about the same number of timm's layers; see ``base.Backbone``."""
        return stages_of(self.inner)

    def adapt_state_dict(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``state`` as this network names and shapes it: timm's own filter of the network's family."""
        return adapted(state, self.inner, self.name)

    def translations(self, state: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """Further readings of a file that names its tensors otherwise: as it is, for timm's filter, and by order."""
        return [dict(state), *by_order(state, self.name)]

    def _set_stride(self, wish: int, image_size: tuple[int, int], tokens: bool) -> None:
        def probe() -> Tensor:
            return self._run(image_size, self._map)

        if wish == 0 and (tokens or self.output == "pooled"):
            return  # what the network pools by itself was trained with its own stride
        if wish == 2 and not tokens and last_reductions(self.inner, probe)[0]:
            return
        if wish != 2 and not tokens and refine_last_stage(self.inner, probe):
            return
        if wish:
            raise UserError(
                f"The last stage of {TIMM}{self.name} cannot be given stride {wish}: set "
                "MODEL.BACKBONE.LAST_STRIDE 0 for its own."
            )
        logger.info("%s%s keeps the stride of its last stage: it cannot be 1", TIMM, self.name)

    def _map(self, x: Tensor) -> Tensor:
        return to_map(self.inner.forward_features(x), self.inner, (int(x.shape[2]), int(x.shape[3])), self.name)

    def _run(self, size: tuple[int, int], function: Callable[[Tensor], Any]) -> Any:
        """``function`` of one image in eval mode, so that no random number is drawn."""
        device = next(self.parameters()).device
        was_training = self.training
        self.eval()
        try:
            with torch.no_grad():
                return function(torch.zeros(1, 3, *size, device=device))
        finally:
            self.train(was_training)

    def _try(self, size: tuple[int, int], function: Callable[[Tensor], Any]) -> Any:
        try:
            return self._run(size, function)
        except UserError:
            raise
        except Exception as error:  # every family of networks has its own way of refusing a size
            raise UserError(needed_size(self.name, self.inner, size, error)) from error

    def _watched(self, size: tuple[int, int]) -> tuple[Tensor, bool]:
        """The features of one image with their graph, and whether no activation comes last."""
        order: list[nn.Module] = []

        def note(layer: nn.Module, *_: Any) -> None:
            order.append(layer)

        leaves = [module for module in self.inner.modules() if not any(module.children())]
        handles = [layer.register_forward_hook(note) for layer in leaves]

        def with_graph(x: Tensor) -> Tensor:
            with torch.enable_grad():
                return self.forward(x)

        try:
            features = self._try(size, with_graph)
        finally:
            for handle in handles:
                handle.remove()
        last = next((layer for layer in reversed(order) if not isinstance(layer, _SILENT)), None)
        return features, self.output == "pooled" or not isinstance(last, _ACTIVATIONS)


def to_map(features: Any, net: Any, image_size: tuple[int, int], name: str) -> Tensor:
    """What ``forward_features`` returned, as (N, C, h, w).

    Args:
        features: (N, C, h, w), (N, h, w, C), or tokens (N, prefix + h * w, C).
        net: network of timm; says which of them.
        image_size: height and width of the images.

    Raises:
        UserError: it is none of them.
    """
    if isinstance(features, Tensor) and features.ndim == 4:
        return features.permute(0, 3, 1, 2) if str(getattr(net, "output_fmt", "NCHW")) == "NHWC" else features
    if isinstance(features, Tensor) and features.ndim == 3:
        patches = features[:, getattr(net, "num_prefix_tokens", 0) :]
        grid = grid_of(int(patches.shape[1]), net, image_size)
        if grid is not None:
            return patches.transpose(1, 2).unflatten(2, grid)
    raise UserError(f"{TIMM}{name} has no feature map: set MODEL.BACKBONE.OUTPUT pooled.")


def grid_of(count: int, net: Any, image_size: tuple[int, int]) -> tuple[int, int] | None:
    """Height and width of a grid of ``count`` tokens, or None where it is no grid."""
    embed: Any = getattr(net, "patch_embed", None)
    if hasattr(embed, "dynamic_feat_size"):
        try:
            grid = tuple(embed.dynamic_feat_size(image_size))
            if grid[0] * grid[1] == count:
                return grid[0], grid[1]
        except (TypeError, AttributeError):
            pass
    height = round(math.sqrt(count * image_size[0] / image_size[1]))
    return (height, count // height) if height and count % height == 0 else None


def _inputs_of(features: Tensor) -> set[Tensor]:
    """The leaves of the graph that computed ``features``."""
    found: set[Tensor] = set()
    seen = set()
    nodes = [features.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(node.variable)
        nodes.extend(parent for parent, _ in node.next_functions)
    return found
