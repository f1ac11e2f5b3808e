"""Imports the user's own Python, so that it can register methods, clusterers, memories and the like."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)

GROUP = "unreid.plugins"


def import_plugins(names: Iterable[str]) -> list[ModuleType]:
    """Imports every plugin once a process, in the given order.

    Args:
        names: files (``methods/mine.py``, relative to the working directory) or importable modules (``mine.methods``).

    Raises:
        UserError: a file or module that does not exist. What a plugin itself raises is passed on.
    """
    return [_import_file(Path(name)) if name.endswith(".py") else _import_module(name) for name in names]


@cache
def import_installed() -> bool:
    """Imports, once a process, what installed packages offer as entry points of :data:`GROUP`.

    A package that cannot be imported is named in a warning and left out: a run that does not need it goes on.

    Returns:
        Whether there is any.
    """
    found = metadata.entry_points(group=GROUP)
    for entry in found:
        package = entry.dist.name if entry.dist else entry.name
        try:
            entry.load()
            logger.info("plugin %s of the installed package %s", entry.value, package)
        except Exception as error:
            logger.warning(
                "The plug-in %s of the installed package %s cannot be imported (%s: %s): its parts are missing; mend "
                "or uninstall it.",
                *(entry.value, package, type(error).__name__, error),
            )
    return bool(found)


def _import_file(path: Path) -> ModuleType:
    path = Path(os.path.realpath(os.path.expanduser(path)))  # links that go round in a circle are no file either
    # Two plugins of one file name stay apart, and a second run in this process does not register anything twice.
    name = f"unreid_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if not os.path.isfile(path) or spec is None or spec.loader is None:
        raise UserError(f"PLUGINS names {path}, which is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    logger.info("plugin %s", path)
    return module


def _import_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise UserError(
            f"PLUGINS names {name!r}, which is neither a file with the ending .py nor a module's full name."
        )
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the plugin was found; it is something that it imports which was not
        raise UserError(
            f"PLUGINS names the module {name!r}, which cannot be imported: there is no {error.name!r} on the Python "
            "path. A file is named with its ending .py."
        ) from None
    logger.info("plugin %s", name)
    return module
