"""``unreid list``: what a config can name."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Iterator
from typing import Any

from unreid.engine.commands.command import Command
from unreid.engine.kinds import KINDS, find_kind
from unreid.utils.plugins import import_installed, import_plugins
from unreid.utils.shipped_weights import shipped_names, summary

WEIGHTS = "weights"
_WEIGHTS = "MODEL.INIT_PATH, RESUME and MODEL of the commands: networks that come with the package"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", nargs="?", default=None, metavar="KIND", help="such as methods or hooks")
    parser.add_argument("--plugins", nargs="+", default=[], metavar="P", help="files or modules to import first")


def run(arguments: argparse.Namespace) -> None:
    kind = arguments.kind
    if kind is None:
        rows = [(word.replace(" ", "-"), entry.purpose) for word, entry in KINDS.items()]
        rows.append((WEIGHTS, _WEIGHTS))
    elif kind.lower() == WEIGHTS:
        rows = [(name, summary(name)) for name in shipped_names()]
    else:
        found = find_kind(kind)
        import_installed()
        import_plugins(arguments.plugins)
        rows = list(_described(found))
    width = max(len(name) for name, _ in rows)
    sys.stdout.write("".join(f"{name:{width}}  {text}".rstrip() + "\n" for name, text in rows))


def _described(kind: str) -> Iterator[tuple[str, str]]:
    registry = KINDS[kind].load()
    for name in registry:
        aliases = registry.aliases(name)
        also = f" (also {', '.join(aliases)})" if aliases else ""
        yield name, first_line(registry.get(name)) + also


def first_line(part: Any) -> str:
    """The first line of what a registered class or function, or the one in a registered record, says of itself."""
    if not (inspect.isclass(part) or inspect.isfunction(part)):
        inner = [value for value in getattr(part, "__dict__", {}).values() if inspect.isfunction(value)]
        return first_line(inner[0]) if inner else ""
    text = inspect.cleandoc(part.__doc__ or "").partition("\n\n")[0]
    return " ".join(text.split())


LIST = Command(
    name="list",
    summary="List what a config can name: kinds of parts, or the names of one kind.",
    example="clusterers",
    add_arguments=add_arguments,
    run=run,
)
