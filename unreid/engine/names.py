"""The names that parts of the package are registered under, so that a misspelt one is refused without importing torch.

A registry fills itself when the modules of its parts are imported, and those import torch, which takes seconds. This
table is a copy for the start of a command; a test compares it with the registries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unreid.config import CfgNode
from unreid.utils.registry import Registry

# kind -> registered name -> aliases
NAMES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "method": {
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
    "part": {"camera_entropy": ("cie",), "support_samples": ()},
    "clusterer": {
        "AgreementDBSCAN": (),
        "BottomUp": (),
        "ConstrainedDBSCAN": ("ICDBSCAN",),
        "DBSCAN": (),
        "HDC": (),
        "Infomap": (),
        "KMeans": (),
        "SelfPacedDBSCAN": (),
    },
    "memory": {"ClusterMemory": (), "DiversityMemory": (), "ExclusiveTable": (), "HybridMemory": (), "ProxyMemory": ()},
    "backbone": {
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
    "pooling": {"avg": (), "avg+max": (), "gem": (), "max": ()},
    "sampler": {
        "identity": (),
        "multi_camera": ("RandomMultipleGallery",),
        "no_camera": (),
        "proxy": (),
        "shuffle": (),
    },
    "memory update rule": {
        "all": ("cm", "ori"),
        "camera": ("cm_camera",),
        "chd": (),
        "hard": ("cm_hard",),
        "hard_camera": ("cm_hard_camera", "hd_camera"),
        "tccl": ("tccl_camera",),
    },
    "diversity memory mode": {
        "cm": ("all",),
        "cm_hard": ("hard",),
        "cm_hybrid": ("cm_hybird",),
        "v2": ("cm_hybrid_v2", "cm_hybird_v2"),
        "v3": ("cm_hybrid_v3", "cm_hybird_v3"),
        "v4": ("cm_hybrid_v4", "cm_hybird_v4"),
        "v5": ("cm_hybrid_v5", "cm_hybird_v5"),
    },
}

SCIKIT_LEARN = "sklearn/"  # begins the names of clusterers that scikit-learn looks up
FORMAT = "unreid"  # of this project's own checkpoints
CHECKPOINT_LAYOUTS = ("cc", "3c", "auxusl", "buc", "ise", "cdsm", "spcl", "clustercontrast", "ccc")
"""Layouts of published checkpoints; see ``unreid/models/checkpoint_keys.py``."""


def check_names(cfg: CfgNode, *, plugins: bool = False) -> None:
    """Raises :class:`UserError` for a name in ``cfg`` that nothing is registered under.

    Args:
        plugins: ``PLUGINS`` have been imported, so that the registries themselves can be asked.
    """
    registries = _real() if plugins else {kind: _table(kind) for kind in NAMES}
    for kind, name in _asked_for(cfg):
        registries[kind].get(name)


def is_own(kind: str, name: str) -> bool:
    """Whether the package itself, and no plug-in, has a part of that kind and name."""
    return name in _table(kind)


def _asked_for(cfg: CfgNode) -> list[tuple[str, str]]:
    """(kind, name) of everything that the run will look up."""
    clusterers = (cfg.CLUSTER.NAME, cfg.CLUSTER.WARMUP.NAME)
    asked = [
        ("method", cfg.METHOD.NAME),
        *(("part", name) for name in cfg.METHOD.EXTRAS),
        *(("clusterer", name) for name in clusterers if name and not name.startswith(SCIKIT_LEARN)),
        ("memory", cfg.MEMORY.NAME),
        ("backbone", cfg.MODEL.BACKBONE.NAME),
        ("pooling", cfg.MODEL.POOLING.NAME),
        ("sampler", cfg.DATALOADER.SAMPLER.NAME),
    ]
    memory = cfg.MEMORY.NAME.lower().replace("_", "").replace("-", "")
    if memory == "diversitymemory":
        asked.append(("diversity memory mode", cfg.MEMORY.UPDATE))
    elif memory in ("clustermemory", "hybridmemory", "proxymemory"):
        asked.append(("memory update rule", cfg.MEMORY.UPDATE))
    return asked


def _table(kind: str) -> Registry[None]:
    table: Registry[None] = Registry(kind)
    for name, aliases in NAMES[kind].items():
        table.register(name, *aliases)(None)
    return table


def _real() -> dict[str, Registry]:
    from unreid.clustering import CLUSTERERS
    from unreid.data.samplers import SAMPLERS
    from unreid.memory import DIVERSITY_MODES, MEMORIES, UPDATE_RULES
    from unreid.methods import METHODS
    from unreid.methods.parts import PARTS
    from unreid.models import BACKBONES, POOLINGS

    registries: list[Registry] = [
        *(METHODS, PARTS, CLUSTERERS, MEMORIES, BACKBONES),
        *(POOLINGS, SAMPLERS, UPDATE_RULES, DIVERSITY_MODES),
    ]
    return {registry.kind: registry for registry in registries}
