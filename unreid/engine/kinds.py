"""The kinds of parts that a config names, and the names that the package's own parts are registered under.

A registry fills itself when the modules of its parts are imported, and those import torch, which takes seconds. So that
the start of a command can answer at once, the own names lie in ``own_names.json``, which this module writes from the
registries: ``python -m unreid.engine.kinds``, part of ``make docs``. A test compares the two.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from unreid.utils.registry import Registry

OWN_NAMES = Path(__file__).with_name("own_names.json")
"""kind -> name -> aliases."""


@dataclass(frozen=True)
class Kind:
    """A kind of part.

    Attributes:
        home: "module:attribute" of its registry.
        purpose: the config key that names such a part, and what it is for.
        also: another word for the kind, which users may say.
    """

    home: str
    purpose: str
    also: str = ""

    def load(self) -> Registry:
        """The registry itself, filled by the package and the plug-ins imported so far."""
        module, _, attribute = self.home.partition(":")
        return getattr(importlib.import_module(module), attribute)


KINDS: Mapping[str, Kind] = {
    "method": Kind("unreid.methods:METHODS", "METHOD.NAME: what is learnt, and what a training step is"),
    "part": Kind(
        "unreid.methods.parts:PARTS",
        "METHOD.EXTRAS: weights, made samples and losses that any cluster-memory method can take",
    ),
    "loss": Kind("unreid.losses:LOSSES", "METHOD.LOSSES, MODEL.LOSSES.ID_OPTION and TRI_OPTION: scalars of a batch"),
    "clusterer": Kind("unreid.clustering:CLUSTERERS", "CLUSTER.NAME: features to pseudo labels"),
    "metric": Kind("unreid.neighbors:METRICS", "CLUSTER.METRIC: the distance that is clustered"),
    "kNN back-end": Kind(
        "unreid.neighbors:KNN_BACKENDS", "CLUSTER.KNN.BACKEND: how nearest neighbours are searched", also="knn"
    ),
    "memory": Kind("unreid.memory:MEMORIES", "MEMORY.NAME: the rows that a batch is contrasted with"),
    "memory update rule": Kind("unreid.memory:UPDATE_RULES", "MEMORY.UPDATE: which samples of a batch move a row"),
    "diversity memory mode": Kind("unreid.memory:DIVERSITY_MODES", "MEMORY.UPDATE of the DiversityMemory"),
    "backbone": Kind("unreid.models:BACKBONES", "MODEL.BACKBONE.NAME: the network"),
    "pooling": Kind("unreid.models:POOLINGS", "MODEL.POOLING.NAME: feature map to vector"),
    "dataset": Kind("unreid.data.datasets:DATASETS", "DATASETS.NAMES, DATASETS.TESTS and DATASETS.SOURCES"),
    "transform": Kind("unreid.data.build:TRANSFORMS", "INPUT.TRANSFORM: the augmentation of a training image"),
    "sampler": Kind("unreid.data.samplers:SAMPLERS", "DATALOADER.SAMPLER.NAME: the order of the samples"),
    "optimizer": Kind("unreid.engine.optim:OPTIMIZERS", "OPTIM.OPT"),
    "schedule": Kind("unreid.engine.optim:SCHEDULES", "OPTIM.SCHED: the learning rate over the epochs"),
    "hook": Kind("unreid.engine.hooks:HOOKS", "HOOKS: what happens around the training loop"),
    "writer": Kind(
        "unreid.utils.events:WRITERS", "LOG.WRITERS: where scalars go beside the log, metrics.jsonl and TensorBoard"
    ),
}


@cache
def own_names(kind: str) -> Registry[None]:
    """The names of the package's own parts of a kind; nothing else stands behind them."""
    table: Registry[None] = Registry(kind)
    for name, aliases in json.loads(OWN_NAMES.read_text(encoding="utf-8"))[kind].items():
        table.register(name, *aliases)(None)
    return table


def find_kind(word: str) -> str:
    """The kind that a user means: any case, plural or singular, words joined by "-" or "_" or in quotes.

    Raises:
        UserError: there is no such kind.
    """
    return _words().get(word)


def _words() -> Registry[str]:
    words: Registry[str] = Registry("kind of part")
    for kind, entry in KINDS.items():
        word = kind.replace(" ", "-")
        plural = f"{word[:-1]}ies" if word.endswith("y") else f"{word}es" if word.endswith("s") else f"{word}s"
        words.register(plural, word, kind, *filter(None, [entry.also]))(kind)
    return words


def registered() -> dict[str, dict[str, list[str]]]:
    """What :data:`OWN_NAMES` holds, from the registries of a process that has imported no plug-in."""
    tables = {kind: entry.load() for kind, entry in KINDS.items()}
    return {kind: {name: list(table.aliases(name)) for name in table} for kind, table in tables.items()}


if __name__ == "__main__":
    lines = [f"{json.dumps(kind)}: {json.dumps(names)}" for kind, names in registered().items()]
    OWN_NAMES.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    sys.stdout.write(f"wrote {OWN_NAMES}\n")
