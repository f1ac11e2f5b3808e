"""The network that every method trains: backbone, pooling, optional linear layer, bottleneck, optional classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from unreid.models.backbone import build_backbone
from unreid.models.batch_norm import (
    ChunkedBatchNorm1d,
    check_chunks,
    chunk_batch_norm,
    chunks_per_process,
    synchronize_batch_norm,
)
from unreid.models.domain_bn import split_domains
from unreid.models.linear import speed_up_linear_layers
from unreid.models.part_heads import PartHeads
from unreid.models.pooling import AveragePooling, GeneralizedMeanPooling, Pooling, build_pooling, mean_over_frames
from unreid.structures import ModelOutput
from unreid.utils.errors import UserError
from unreid.utils.products import products
from unreid.utils.settings import settings

if TYPE_CHECKING:
    from unreid.config import CfgNode

HEAD = (
    *("EMBED_DIM", "EMBED_BIAS", "DROPOUT", "DROPOUT_POSITION", "BN_BIAS", "NECK_RELU", "FRAME_POOL", "PARTS"),
    *("STANDARDIZE", "FREEZE_AT"),
)
"""Keys of ``MODEL`` that are arguments of the model."""
FREEZE_STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")


class EmbeddingModel(nn.Module):
    """Maps the frames of B clips to one vector per clip. An image is a clip of one frame.

    With ``z`` the pooled vector of a frame, ``b = BN(Linear(z))`` (``BN(z)`` without the linear layer) and T frames:

    ===================  ==========================================  ==========================================
    frames averaged      ``"after_bottleneck"`` (image methods,      ``"before_bottleneck"`` (BUC)
                         AuxUSL)
    ===================  ==========================================  ==========================================
    pooled               ``mean_t z_t``                              ``m = mean_t z_t``
    embedding, training  ``dropout(l2(mean_t b_t))``                 ``dropout(l2(BN(Linear(m))))``
    embedding, eval      ``mean_t l2(b_t)``, not normalised again    ``l2(BN(Linear(m)))``
    logits               ``W mean_t b_t``                            ``W BN(Linear(m))``
    ===================  ==========================================  ==========================================

    ``l2`` divides by ``max(norm, 1e-12)``. Parameter names: ``backbone.*``, ``pooling.p`` (GeM), ``embedding.*``,
    ``bottleneck.*``, ``classifier.weight``, ``part_heads.*``; the key mapping of published checkpoints relies on them.

    Args:
        backbone: see :class:`unreid.models.base.Backbone`.
        pooling: from a map to one vector; average pooling when left out.
        embed_dim: width of the linear layer before the bottleneck; 0: none.
        embed_bias: that layer has a bias.
        dropout: probability of dropout on the training feature.
        dropout_position: "after_norm" (Cluster Contrast, ISE, BUC) or "before_norm" (CDSM).
        bn_bias: the bottleneck's bias is trained; otherwise it stays 0.
        neck_relu: ReLU after the bottleneck (torchreid's OSNet); every ``b`` of the table is then ``max(b, 0)``.
        frame_pool: "after_bottleneck" or "before_bottleneck", see the table.
        num_classes: rows of the classifier, which has no bias; 0: none.
        parts: horizontal stripes with heads of their own (see :class:`~unreid.models.part_heads.PartHeads`); 0: none.
        standardize: give every image and channel mean 0 and variance 1 before the backbone.
        freeze_at: last frozen stage ("stem", "layer1" ... "layer4"), "" for none. Frozen stages get no gradient and
            all their BN layers, those of shortcuts included, stay in eval mode.

    Attributes:
        pooled_dim: width of ``ModelOutput.pooled``.
        feature_dim: width of ``ModelOutput.embedding``.
        parts_dim: width of ``ModelOutput.parts`` laid out in a row, 0 without parts.
    """

    def __init__(
        self,
        backbone: nn.Module,
        pooling: Pooling | None = None,
        *,
        embed_dim: int = 0,
        embed_bias: bool = True,
        dropout: float = 0.0,
        dropout_position: str = "after_norm",
        bn_bias: bool = False,
        neck_relu: bool = False,
        frame_pool: str = "after_bottleneck",
        num_classes: int = 0,
        parts: int = 0,
        standardize: bool = False,
        freeze_at: str = "",
    ) -> None:
        super().__init__()
        if dropout_position not in ("after_norm", "before_norm"):
            raise ValueError(f"dropout_position is 'after_norm' or 'before_norm', not {dropout_position!r}")
        if frame_pool not in ("after_bottleneck", "before_bottleneck"):
            raise ValueError(f"frame_pool is 'after_bottleneck' or 'before_bottleneck', not {frame_pool!r}")
        self.backbone = backbone
        self.pooling = pooling if pooling is not None else AveragePooling()
        self.pooled_dim = int(backbone.feature_dim) * self.pooling.stripes  # type: ignore[arg-type]
        self.feature_dim = embed_dim or self.pooled_dim
        self.embedding = nn.Linear(self.pooled_dim, embed_dim, bias=embed_bias) if embed_dim else nn.Identity()
        self.bottleneck = nn.BatchNorm1d(self.feature_dim)
        self.bottleneck.bias.requires_grad_(bn_bias)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(self.feature_dim, num_classes, bias=False) if num_classes else None
        self.dropout_position = dropout_position
        self.frame_pool = frame_pool
        self.neck_relu = neck_relu
        self.standardize = standardize
        self.freeze_at = freeze_at
        self._init_head()
        self.part_heads = (
            PartHeads(int(backbone.feature_dim), parts, num_classes=num_classes, bn_bias=bn_bias)  # type: ignore[arg-type]
            if parts
            else None
        )
        self.parts_dim = self.part_heads.parts * self.part_heads.dim if self.part_heads is not None else 0
        for part in frozen_parts(backbone, freeze_at):
            part.requires_grad_(False)
        speed_up_linear_layers(self)

    @classmethod
    def from_config(cls, cfg: CfgNode, num_classes: int = 0, *, pretrained: bool = True) -> EmbeddingModel:
        """Builds the model that ``cfg.MODEL`` describes.

        Args:
            num_classes: training samples, for the classifier; used if ``MODEL.CLASSIFIER``.
            pretrained: obey ``MODEL.BACKBONE.PRETRAIN``; False skips it where a checkpoint is loaded anyway.
        """
        node = cfg.MODEL
        backbone = build_backbone(cfg, pretrained=pretrained)
        pooling = build_pooling(node.POOLING.NAME, node.POOLING.STRIPES)
        if getattr(backbone, "signed_output", False) and isinstance(pooling, GeneralizedMeanPooling):
            raise UserError(
                f"MODEL.POOLING.NAME gem drops the negative values of {node.BACKBONE.NAME}: set MODEL.POOLING.NAME avg."
            )
        model = cls(backbone, pooling, num_classes=num_classes if node.CLASSIFIER else 0, **settings(node, *HEAD))
        if node.SYNC_BN and node.BN_CHUNKS > 1:
            raise UserError("MODEL.SYNC_BN and MODEL.BN_CHUNKS > 1 exclude each other: switch one of them off.")
        if node.SYNC_BN:
            synchronize_batch_norm(model)
        chunk_batch_norm(model, chunks_per_process(node.BN_CHUNKS))
        if node.DOMAIN_BN:
            split_domains(model)
        return model

    @property
    def bn_chunks(self) -> int:
        """Parts of a training batch that BN normalises separately (see ``chunk_batch_norm``)."""
        return self.bottleneck.chunks if isinstance(self.bottleneck, ChunkedBatchNorm1d) else 1

    def forward(
        self, images: Tensor, clip_len: int = 1, camids: Tensor | None = None, classes: int | None = None
    ) -> ModelOutput:
        """Features of B clips.

        Args:
            images: float (B * clip_len, 3, H, W), normalised; the frames of a clip are adjacent.
            clip_len: frames T per clip.
            camids: int64 (B,), read only by backbones with a camera embedding.
            classes: logits of the classifiers' first rows only; None: of all.

        Raises:
            ValueError: the batch is no whole number of clips, or in training mode of BN chunks.
        """
        if clip_len < 1 or len(images) % clip_len:
            raise ValueError(f"{len(images)} frames are no whole number of clips of {clip_len}")
        if self.training:
            check_chunks(len(images) // clip_len, self.bn_chunks)
        if camids is not None:
            camids = camids.repeat_interleave(clip_len)
        return self.forward_head(self.forward_features(images, camids), clip_len, classes)

    def forward_features(self, images: Tensor, camids: Tensor | None = None) -> Tensor:
        """float (N, 3, H, W) frames and their cameras int64 (N,) or None -> maps (N, C, h, w)."""
        if self.standardize:
            images = F.instance_norm(images)
        if camids is not None and getattr(self.backbone, "takes_cameras", False):
            return self.backbone(images, camids)
        return self.backbone(images)

    def forward_head(self, maps: Tensor, clip_len: int = 1, classes: int | None = None) -> ModelOutput:
        """Maps (B * clip_len, C, h, w) -> output for B clips; see the table of the class."""
        frames = self.pooling(maps)
        pooled = mean_over_frames(frames, clip_len)
        if self.frame_pool == "before_bottleneck" or clip_len == 1:
            neck = self._neck(pooled)
            embedding = self._normalize(neck)
        else:
            per_frame = self._neck(frames)
            neck = mean_over_frames(per_frame, clip_len)
            if self.training:
                embedding = self._normalize(neck)
            else:
                embedding = mean_over_frames(F.normalize(per_frame, dim=1, eps=1e-12), clip_len)
        logits = None if self.classifier is None else products(neck, self.classifier.weight[:classes])
        output = ModelOutput(pooled=pooled, embedding=embedding, logits=logits, neck=neck)
        if self.part_heads is not None:
            average_first = self.frame_pool == "before_bottleneck"
            output.parts, output.part_logits = self.part_heads(
                maps, clip_len, average_first=average_first, classes=classes
            )
        return output

    def train(self, mode: bool = True) -> EmbeddingModel:
        """As ``nn.Module.train``, but the BN layers of frozen stages stay in eval mode."""
        super().train(mode)
        for part in frozen_parts(self.backbone, self.freeze_at):
            for layer in part.modules() if isinstance(part, nn.Module) else ():
                if isinstance(layer, _BatchNorm):
                    layer.eval()
        return self

    def _neck(self, pooled: Tensor) -> Tensor:
        neck = self.bottleneck(self.embedding(pooled).to(pooled.dtype))
        return F.relu(neck) if self.neck_relu else neck

    def _normalize(self, neck: Tensor) -> Tensor:
        """L2 normalisation with the dropout of the training feature before or after it."""
        if self.dropout_position == "before_norm":
            return F.normalize(self.dropout(neck), dim=1, eps=1e-12)
        return self.dropout(F.normalize(neck, dim=1, eps=1e-12))

    def _init_head(self) -> None:
        if isinstance(self.embedding, nn.Linear):
            nn.init.kaiming_normal_(self.embedding.weight, mode="fan_out")
            if self.embedding.bias is not None:
                nn.init.zeros_(self.embedding.bias)
        if self.classifier is not None:
            nn.init.normal_(self.classifier.weight, std=0.001)


def frozen_parts(backbone: nn.Module, freeze_at: str) -> list[nn.Module | nn.Parameter]:
    """The backbone's modules and bare parameters up to and including stage ``freeze_at``; none for ""."""
    if not freeze_at:
        return []
    if freeze_at not in FREEZE_STAGES:
        raise ValueError(f"freeze_at is '' or one of {', '.join(FREEZE_STAGES)}, not {freeze_at!r}")
    last = FREEZE_STAGES.index(freeze_at)
    stages = backbone.stages()  # type: ignore[operator]
    return [part for name in FREEZE_STAGES[: last + 1] for part in stages[name]]
