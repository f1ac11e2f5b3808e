"""``unreid list``: what a config can name."""

from __future__ import annotations

import argparse

from unreid.engine.commands.command import Command
from unreid.engine.listing import list_parts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("kind", nargs="?", default=None, metavar="KIND", help="such as methods or hooks")
    parser.add_argument("--plugins", nargs="+", default=[], metavar="P", help="files or modules to import first")


def run(arguments: argparse.Namespace) -> None:
    """Prints the kinds of parts, or the names of one kind."""
    list_parts(arguments.kind, arguments.plugins)


LIST = Command(
    name="list",
    summary="List what a config can name: kinds of parts, or the names of one kind.",
    example="clusterers",
    add_arguments=add_arguments,
    run=run,
)
