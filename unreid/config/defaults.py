"""The config tree with its defaults, made from the declarations in ``keys/``."""

from __future__ import annotations

import copy

from unreid.config.keys import KEYS
from unreid.config.node import CfgNode
from unreid.config.plugins import keys_of_all_plugins


def get_cfg() -> CfgNode:
    """A fresh, unfrozen tree of the defaults; keys of plug-ins join it when ``PLUGINS`` is merged."""
    cfg, elsewhere = CfgNode(), keys_of_all_plugins()
    for name, key in KEYS.items():
        if name not in elsewhere:
            cfg.plant(name, copy.copy(key.default))
    return cfg
