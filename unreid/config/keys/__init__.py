"""Every key of the config, each declared once: one file a section, in the order of the tree.

Keys follow yacs / fastreid style. Method files in ``configs/`` state only what a method changes, dataset files only
what a dataset changes.
"""

from __future__ import annotations

import re

from unreid.config.key import Key, Section
from unreid.config.keys import (
    cluster,
    datasets,
    general,
    loading,
    memory,
    method,
    model,
    optim,
    output,
    test,
)

_FILES = (general, method, model, memory, cluster, datasets, loading, optim, test, output)
_NAME = re.compile(r"[A-Z][A-Z0-9_]*(\.[A-Z][A-Z0-9_]*)*")

KEYS: dict[str, Key] = {}
"""Full name -> declaration; :func:`declare` adds to it."""

SECTIONS: dict[str, str] = {}
"""Full name of a section -> what it is for, where that needs saying."""

FORMER: dict[str, str] = {}
"""Old full name -> today's."""

DECLARED: list[str] = []
"""Full names in the order in which plug-ins declared them, again where two declare the same."""


def declare(name: str, key: Key) -> None:
    """Add a key, for a plug-in file: ``declare("METHOD.MINE.ALPHA", Key(0.5, between(0, 1), "weight of my part"))``.

    It may be set, printed and suggested like any other key by every config whose ``PLUGINS`` name the file.

    Args:
        name: full dotted name in capitals; sections that do not exist yet come into being.
        key: its declaration. The same declaration may be repeated.

    Raises:
        ValueError: the name is malformed, or is that of a section, of a value, or of a key declared otherwise.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"a key has a name such as METHOD.MINE.ALPHA, not {name!r}")
    if name in KEYS and not KEYS[name].same_as(key):
        raise ValueError(f"the key {name} exists already, with another declaration: choose another name")
    for other in KEYS:
        if other.startswith(f"{name}."):
            raise ValueError(f"{name} is a section with keys such as {other}: choose another name")
        if name.startswith(f"{other}."):
            raise ValueError(f"{other} is a key and no section, so there cannot be a {name}: choose another name")
    for old in key.formerly:
        if old in KEYS or FORMER.get(old, name) != name:
            raise ValueError(f"{old} cannot be a former name of {name}: it is that of {FORMER.get(old, old)}")
    _add(name, key)
    DECLARED.append(name)


def _add(name: str, key: Key) -> None:
    KEYS.setdefault(name, key)
    FORMER.update(dict.fromkeys(key.formerly, name))


for _file in _FILES:
    for _name, _entry in _file.KEYS.items():
        if isinstance(_entry, Section):
            SECTIONS[_name] = _entry.text
        else:
            _add(_name, _entry)
