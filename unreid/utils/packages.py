"""Packages that not everybody has."""

from __future__ import annotations

import importlib.util
import sys

from unreid.utils.errors import UserError


def require_packages(asker: object, *packages: str, way_out: str) -> None:
    """Raises :class:`UserError` for the first package that is not installed; none is imported."""
    for package in packages:
        if sys.modules.get(package) is None and importlib.util.find_spec(package) is None:
            raise UserError(f"{asker} needs the package {package}, which is not installed: {way_out}.")
