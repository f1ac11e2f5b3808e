"""Heads on horizontal parts of the feature map, beside the head of the whole image (PPLR, Cho et al., CVPR 2022)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from unreid.models.pooling import AveragePooling, mean_over_frames
from unreid.utils.products import batched_products


class PartHeads(nn.Module):
    """P stripes of the map, each average-pooled, with a BN neck and a linear classifier of its own.

    BN works on every channel by itself, so that P necks are one layer over the pooled vectors side by side. Parameter
    names: ``bottleneck.*`` (P * C), ``classifier`` (P, num_classes, C) where there is one.

    Args:
        channels: C of the map.
        parts: P.
        num_classes: rows of every classifier, which has no bias; 0: none.
        bn_bias: the bottleneck's bias is trained; otherwise it stays 0.
    """

    classifier: nn.Parameter | None

    def __init__(self, channels: int, parts: int, *, num_classes: int = 0, bn_bias: bool = False) -> None:
        super().__init__()
        self.parts = parts
        self.dim = channels
        self.pooling = AveragePooling(parts)
        self.pooling.key = "MODEL.PARTS"
        self.bottleneck = nn.BatchNorm1d(parts * channels)
        self.bottleneck.bias.requires_grad_(bn_bias)
        weight = nn.Parameter(
            nn.init.normal_(self.bottleneck.weight.new_empty(parts, num_classes, channels), std=0.001)
        )
        self.register_parameter("classifier", weight if num_classes else None)

    def forward(
        self, maps: Tensor, clip_len: int = 1, *, average_first: bool = False, classes: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Part features and logits of B clips.

        Args:
            maps: float (B * clip_len, C, h, w).
            clip_len: frames T per clip.
            average_first: frames are averaged before the bottleneck.
            classes: logits of the classifiers' first rows only; None: of all.

        Returns:
            features (B, P, C), after the bottleneck and not normalised; in eval mode of several frames the mean of
            unit vectors. Logits (B, P, num_classes), None in eval mode and without classifiers.
        """
        frames = self.pooling(maps)
        if average_first or clip_len == 1:
            neck = self.bottleneck(mean_over_frames(frames, clip_len)).unflatten(1, (self.parts, self.dim))
        elif self.training:
            neck = mean_over_frames(self.bottleneck(frames), clip_len).unflatten(1, (self.parts, self.dim))
        else:
            unit = F.normalize(self.bottleneck(frames).unflatten(1, (self.parts, self.dim)), dim=2, eps=1e-12)
            neck = mean_over_frames(unit, clip_len)
        if self.classifier is None or not self.training:
            return neck, None
        return neck, batched_products(neck.transpose(0, 1), self.classifier[:, :classes]).transpose(0, 1)
