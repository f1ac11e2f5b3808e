"""The config tree: defaults, layering, overrides, validation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from unreid.config.defaults import get_cfg
from unreid.config.key import Key
from unreid.config.keys import declare
from unreid.config.node import CfgNode
from unreid.config.sources import read_file, read_pairs

__all__ = ["CfgNode", "Key", "declare", "get_cfg", "load_config"]


def load_config(path: str | os.PathLike[str] | None = None, overrides: Sequence[Any] = ()) -> CfgNode:
    """Defaults, then a YAML file with its ``_BASE_`` files, then overrides: validated and frozen.

    ``PLUGINS`` that either of them names are imported first: they may declare keys.

    Args:
        path: YAML file, or None for the defaults alone.
        overrides: ``[KEY, VALUE, "KEY=VALUE", ...]``, texts or Python values.

    Raises:
        UserError: a key that does not exist, a value that is not allowed, or settings that contradict each other.
    """
    cfg = get_cfg()
    cfg.merge_settings([*(read_file(path) if path is not None else ()), *read_pairs(overrides)])
    cfg.validate()
    cfg.freeze()
    return cfg
