"""Networks: backbones, pooling, the embedding model, its mean teacher, and the weight files they read."""

from unreid.models import ibn, osnet, resnet, resnet_tiny, vit
from unreid.models.base import BACKBONES, create_backbone, register_backbone
from unreid.models.batch_norm import chunk_batch_norm, recalibrate_bn
from unreid.models.ema import MeanTeacher
from unreid.models.embedding import EmbeddingModel
from unreid.models.pooling import POOLINGS, build_pooling

__all__ = [
    "BACKBONES",
    "POOLINGS",
    "EmbeddingModel",
    "MeanTeacher",
    "build_pooling",
    "chunk_batch_norm",
    "create_backbone",
    "ibn",
    "osnet",
    "recalibrate_bn",
    "register_backbone",
    "resnet",
    "resnet_tiny",
    "vit",
]
