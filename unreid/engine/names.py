"""Whether the names in a config are registered: a misspelt one is refused without importing torch."""

from __future__ import annotations

from unreid.config import CfgNode
from unreid.engine.kinds import KINDS
from unreid.utils.plugins import import_installed
from unreid.utils.registry import Registry

SCIKIT_LEARN = "sklearn/"  # begins the names of clusterers that scikit-learn looks up
FORMAT = "unreid"  # of this project's own checkpoints
CHECKPOINT_LAYOUTS = ("cc", "3c", "auxusl", "buc", "ise", "cdsm", "spcl", "clustercontrast", "ccc")
"""Layouts of published checkpoints; see ``unreid/models/checkpoint_keys.py``."""


def check_names(cfg: CfgNode, *, plugins: bool = False) -> None:
    """Raises :class:`UserError` for a name in ``cfg`` that nothing is registered under.

    Args:
        plugins: ``PLUGINS`` have been imported, so that the registries themselves can be asked.
    """
    for kind, name in _asked_for(cfg):
        if plugins or not is_own(kind, name):
            registry = KINDS[kind].load() if plugins or import_installed() else _table(kind)
            registry.get(name)


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
        ("transform", cfg.INPUT.TRANSFORM),
        ("optimizer", cfg.OPTIM.OPT),
        ("schedule", cfg.OPTIM.SCHED),
        *(("hook", name) for name in cfg.HOOKS),
        *(("writer", name) for name in cfg.LOG.WRITERS),
        *(("dataset", name) for name in (() if cfg.TEST.EVAL_ONLY else cfg.DATASETS.NAMES)),
        *(("dataset", name) for name in cfg.DATASETS.TESTS or cfg.DATASETS.NAMES),
    ]
    memory = cfg.MEMORY.NAME.lower().replace("_", "").replace("-", "")
    if memory == "diversitymemory":
        asked.append(("diversity memory mode", cfg.MEMORY.UPDATE))
    elif memory in ("clustermemory", "hybridmemory", "proxymemory"):
        asked.append(("memory update rule", cfg.MEMORY.UPDATE))
    return asked


def _table(kind: str) -> Registry[None]:
    table: Registry[None] = Registry(kind)
    for name, aliases in KINDS[kind].names.items():
        table.register(name, *aliases)(None)
    return table
