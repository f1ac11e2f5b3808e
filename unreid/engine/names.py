"""Whether the names in a config are registered: a misspelt one is refused without importing torch."""

from __future__ import annotations

import difflib
import importlib.util
import re
from pathlib import Path

from unreid.config import CfgNode
from unreid.engine.kinds import KINDS, own_names
from unreid.utils.errors import UserError
from unreid.utils.estimators import PREFIX, accepted_arguments, estimator, parse_arguments
from unreid.utils.pixels import TIMM
from unreid.utils.plugins import import_installed
from unreid.utils.registry import fold

_ENTRYPOINT = re.compile(r"^@register_model\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
FORMAT = "unreid"  # of this project's own checkpoints
CHECKPOINT_LAYOUTS = (
    *("cc", "3c", "auxusl", "buc", "torchreid", "fastreid", "openunreid", "transreid", "backbone"),
    *("ise", "cdsm", "spcl", "clustercontrast", "ccc", "bot", "luperson", "moco", "dino"),
)
"""Layouts of published checkpoints; see ``unreid/models/checkpoint_keys.py``."""


def check_names(cfg: CfgNode, *, plugins: bool = False) -> None:
    """Raises :class:`UserError` for a name in ``cfg`` that nothing is registered under.

    Args:
        plugins: ``PLUGINS`` have been imported, so that the registries themselves can be asked.
    """
    backbone = cfg.MODEL.BACKBONE.NAME
    if backbone.startswith(TIMM):
        check_timm_name(backbone.removeprefix(TIMM))
    for kind, name in _asked_for(cfg):
        if plugins or name not in own_names(kind):
            registry = KINDS[kind].load() if plugins or import_installed() else own_names(kind)
            registry.get(name)
    for name in _clusterers(cfg):
        if name.startswith(PREFIX):
            accepted_arguments(estimator(name.removeprefix(PREFIX)), parse_arguments(cfg.CLUSTER.SKLEARN.ARGUMENTS))


def check_timm_name(name: str) -> None:
    """Raises :class:`UserError` if timm is installed and has no network of that name; does not import it."""
    known = timm_names()
    plain = name.partition(".")[0]
    if known and plain not in known:
        near = difflib.get_close_matches(plain, known, n=1)
        hint = f" Did you mean {TIMM}{near[0]}?" if near else ""
        raise UserError(f"timm has no network named {plain!r}.{hint}")


def timm_names() -> list[str]:
    """The networks that the installed timm registers, read from its source; none where it is not installed."""
    found = importlib.util.find_spec("timm")
    folders = [Path(place) / "models" for place in (found.submodule_search_locations or ())] if found else []
    names = set()
    for source in (path for folder in folders for path in sorted(folder.glob("*.py"))):
        names |= set(_ENTRYPOINT.findall(source.read_text(encoding="utf-8")))
    return sorted(names)


def _asked_for(cfg: CfgNode) -> list[tuple[str, str]]:
    """(kind, name) of everything that the run will look up."""
    asked = [
        ("method", cfg.METHOD.NAME),
        *(("part", name) for name in cfg.METHOD.EXTRAS),
        *(("clusterer", name) for name in _clusterers(cfg) if not name.startswith(PREFIX)),
        *(("loss", word.partition("=")[0]) for word in cfg.METHOD.LOSSES),
        ("loss", cfg.MODEL.LOSSES.ID_OPTION),
        ("loss", cfg.MODEL.LOSSES.TRI_OPTION),
        ("metric", cfg.CLUSTER.METRIC),
        ("kNN back-end", cfg.CLUSTER.KNN.BACKEND),
        ("memory", cfg.MEMORY.NAME),
        *(("backbone", name) for name in (cfg.MODEL.BACKBONE.NAME,) if not name.startswith(TIMM)),
        ("pooling", cfg.MODEL.POOLING.NAME),
        ("sampler", cfg.DATALOADER.SAMPLER.NAME),
        ("transform", cfg.INPUT.TRANSFORM),
        ("transform", cfg.METHOD.CDSM.TEACHER_VIEW),
        ("optimizer", cfg.OPTIM.OPT),
        ("schedule", cfg.OPTIM.SCHED),
        *(("hook", name) for name in cfg.HOOKS),
        *(("writer", name) for name in cfg.LOG.WRITERS),
        *(("dataset", name) for name in (() if cfg.TEST.EVAL_ONLY else cfg.DATASETS.NAMES)),
        *(("dataset", name) for name in cfg.DATASETS.TESTS or cfg.DATASETS.NAMES),
        *(("dataset", name) for name in (() if cfg.TEST.EVAL_ONLY else cfg.DATASETS.SOURCES)),
    ]
    memory = fold(cfg.MEMORY.NAME)
    if memory == "diversitymemory":
        asked.append(("diversity memory mode", cfg.MEMORY.UPDATE))
    elif memory in ("clustermemory", "hybridmemory", "proxymemory"):
        asked.append(("memory update rule", cfg.MEMORY.UPDATE))
    return asked


def _clusterers(cfg: CfgNode) -> list[str]:
    return [name for name in (cfg.CLUSTER.NAME, cfg.CLUSTER.WARMUP.NAME) if name]
