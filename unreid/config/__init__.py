"""The config tree: defaults, layering, overrides, validation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from unreid.config.defaults import get_cfg
from unreid.config.node import CfgNode

__all__ = ["CfgNode", "get_cfg", "load_config"]


def load_config(path: str | os.PathLike[str] | None = None, overrides: Sequence[Any] = ()) -> CfgNode:
    """Defaults, then a YAML file with its ``_BASE_`` files, then ``KEY VALUE`` overrides: validated and frozen.

    Args:
        path: YAML file, or None for the defaults alone.
        overrides: ``[KEY, VALUE, ...]``, texts or Python values.

    Raises:
        UserError: a key that does not exist, a value that is not allowed, or settings that contradict each other.
    """
    cfg = get_cfg()
    if path is not None:
        cfg.merge_from_file(path)
    cfg.merge_from_list(overrides)
    cfg.validate()
    cfg.freeze()
    return cfg
