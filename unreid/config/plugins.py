"""Which keys came with which plug-in: a tree holds those of its own ``PLUGINS``, whatever else the process imported."""

from __future__ import annotations

from collections.abc import Iterable

from unreid.config.keys import DECLARED
from unreid.utils.plugins import import_plugins

_KEYS: dict[str, list[str]] = {}  # name of a plug-in's module -> the keys that its import declared


def keys_of_plugins(names: Iterable[str]) -> list[str]:
    """Imports the plug-ins (see :func:`unreid.utils.plugins.import_plugins`) and returns the keys they declare."""
    keys = []
    for name in names:
        before = len(DECLARED)
        (module,) = import_plugins([name])
        _KEYS.setdefault(module.__name__, []).extend(DECLARED[before:])
        keys.extend(_KEYS[module.__name__])
    return keys


def keys_of_all_plugins() -> set[str]:
    """Keys that only the configs of some plug-in have."""
    return {key for keys in _KEYS.values() for key in keys}
