"""``unreid config``: a config as it will be used, with what each key means and where it was set."""

from __future__ import annotations

import argparse
import sys

from unreid.config import load_config
from unreid.config.printed import commented


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--config-file", default=None, metavar="F", help="the same as FILE")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="[FILE] [KEY VALUE]", help="file, keys to change")


def run(arguments: argparse.Namespace) -> None:
    """Prints the tree; it is a config file itself."""
    file, words = arguments.config_file, list(arguments.words)
    if file is None and words:
        file = words.pop(0)
    sys.stdout.write(commented(load_config(file, words)))
