"""The kinds of parts that a config names, and the names that the package's own parts are registered under.

A registry fills itself when the modules of its parts are imported, and those import torch, which takes seconds. This
table lets the start of a command answer at once; a test compares it with the registries.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unreid.utils.registry import Registry


@dataclass(frozen=True)
class Kind:
    """A kind of part.

    Attributes:
        home: "module:attribute" of its registry.
        purpose: the config key that names such a part, and what it is for.
        names: own names -> aliases.
    """

    home: str
    purpose: str
    names: Mapping[str, Sequence[str]]

    def load(self) -> Registry:
        """The registry itself, filled by the package and the plug-ins imported so far."""
        module, _, attribute = self.home.partition(":")
        return getattr(importlib.import_module(module), attribute)


KINDS: Mapping[str, Kind] = {
    "method": Kind(
        "unreid.methods:METHODS",
        "METHOD.NAME: what is learnt, and what a training step is",
        {
            "AuxUSL": (),
            "BUC": (),
            "CAP": (),
            "CCC": ("3C",),
            "CDSM": (),
            "ClusterContrast": ("cc",),
            "ISE": (),
            "O2CAP": (),
            "PPLR": (),
            "SpCL": (),
        },
    ),
    "part": Kind(
        "unreid.methods.parts:PARTS",
        "METHOD.EXTRAS: losses, weights and made samples that any cluster-memory method can take",
        {
            "camera_entropy": ("cie",),
            "support_samples": (),
        },
    ),
    "clusterer": Kind(
        "unreid.clustering:CLUSTERERS",
        "CLUSTER.NAME: features to pseudo labels",
        {
            "AgreementDBSCAN": (),
            "BottomUp": (),
            "ConstrainedDBSCAN": ("ICDBSCAN",),
            "DBSCAN": (),
            "HDC": (),
            "Infomap": (),
            "KMeans": (),
            "SelfPacedDBSCAN": (),
        },
    ),
    "memory": Kind(
        "unreid.memory:MEMORIES",
        "MEMORY.NAME: the rows that a batch is contrasted with",
        {
            "ClusterMemory": (),
            "DiversityMemory": (),
            "ExclusiveTable": (),
            "HybridMemory": (),
            "ProxyMemory": (),
        },
    ),
    "memory update rule": Kind(
        "unreid.memory:UPDATE_RULES",
        "MEMORY.UPDATE: which samples of a batch move a row",
        {
            "all": ("cm", "ori"),
            "camera": ("cm_camera",),
            "chd": ("hd_camera",),
            "hard": ("cm_hard",),
            "hard_camera": ("cm_hard_camera",),
            "tccl": ("tccl_camera",),
        },
    ),
    "diversity memory mode": Kind(
        "unreid.memory:DIVERSITY_MODES",
        "MEMORY.UPDATE of the DiversityMemory",
        {
            "cm": ("all",),
            "cm_hard": ("hard",),
            "cm_hybrid": ("cm_hybird",),
            "v2": ("cm_hybrid_v2", "cm_hybird_v2"),
            "v3": ("cm_hybrid_v3", "cm_hybird_v3"),
            "v4": ("cm_hybrid_v4", "cm_hybird_v4"),
            "v5": ("cm_hybrid_v5", "cm_hybird_v5"),
        },
    ),
    "backbone": Kind(
        "unreid.models:BACKBONES",
        "MODEL.BACKBONE.NAME: the network",
        {
            "resnet18": (),
            "resnet34": (),
            "resnet50": (),
            "resnet101": (),
            "resnet50_ibn_a": (),
            "resnet101_ibn_a": (),
            "resnet50_ibn_b": (),
            "resnet_tiny": (),
            "vit_base": (),
            "vit_small": (),
        },
    ),
    "pooling": Kind(
        "unreid.models:POOLINGS",
        "MODEL.POOLING.NAME: feature map to vector",
        {
            "avg": (),
            "avg+max": (),
            "gem": (),
            "max": (),
        },
    ),
    "dataset": Kind(
        "unreid.data.datasets:DATASETS",
        "DATASETS.NAMES and DATASETS.TESTS",
        {
            "CUHK03NP": ("CUHK03-NP", "CUHK03"),
            "CelebReID": ("Celeb-reID",),
            "DukeMTMCVideoReID": ("DukeMTMC-VideoReID", "dukevideo"),
            "DukeMTMCreID": ("duke",),
            "ImageFolder": ("folder",),
            "MARS": (),
            "MSMT17": ("msmt",),
            "Market1501": ("market",),
            "PersonX": (),
            "Synthetic": (),
            "SyntheticVideo": (),
            "VeRi776": ("VeRi",),
        },
    ),
    "transform": Kind(
        "unreid.data.build:TRANSFORMS",
        "INPUT.TRANSFORM: the augmentation of a training image",
        {
            "base": (),
            "strong": (),
        },
    ),
    "sampler": Kind(
        "unreid.data.samplers:SAMPLERS",
        "DATALOADER.SAMPLER.NAME: the order of the samples",
        {
            "identity": (),
            "multi_camera": ("RandomMultipleGallery",),
            "no_camera": (),
            "proxy": (),
            "shuffle": (),
        },
    ),
    "optimizer": Kind(
        "unreid.engine.optim:OPTIMIZERS",
        "OPTIM.OPT",
        {
            "adam": (),
            "adamw": (),
            "sgd": (),
        },
    ),
    "schedule": Kind(
        "unreid.engine.optim:SCHEDULES",
        "OPTIM.SCHED: the learning rate over the epochs",
        {
            "constant": (),
            "cosine": (),
            "multistep": (),
            "step": (),
        },
    ),
    "hook": Kind(
        "unreid.engine.hooks:HOOKS",
        "HOOKS: what happens around the training loop",
        {
            "Checkpoint": (),
            "Diagnostics": (),
            "Evaluation": (),
            "History": (),
            "LossGuard": (),
            "Progress": (),
            "PseudoLabels": (),
            "RankCheck": (),
            "RankedList": (),
            "Scalars": (),
            "Signal": (),
        },
    ),
    "writer": Kind(
        "unreid.utils.events:WRITERS",
        "LOG.WRITERS: where scalars go beside the log, metrics.jsonl and TensorBoard",
        {
            "MLflow": (),
            "WandB": ("W&B",),
        },
    ),
}


def find_kind(word: str) -> str:
    """The kind that a user means: any case, plural or singular, words joined by "-" or "_" or in quotes.

    Raises:
        UserError: there is no such kind.
    """
    return _words().get(word)


def _words() -> Registry[str]:
    words: Registry[str] = Registry("kind of part")
    for kind in KINDS:
        word = kind.replace(" ", "-")
        plural = f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
        words.register(plural, word, kind)(kind)
    return words
