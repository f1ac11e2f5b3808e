"""Names of a package that load their module on first use (PEP 562), for packages that must import at once."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any


def load(package: str, homes: Mapping[str, str], name: str) -> Any:
    """The object ``name`` of the module ``homes[name]``, which from now on is an attribute of ``package``.

    Raises:
        AttributeError: ``homes`` has no such name.
    """
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(homes[name]), name)
    setattr(sys.modules[package], name, found)
    return found
