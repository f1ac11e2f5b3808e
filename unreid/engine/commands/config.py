"""``unreid config``: a config as it will be used, with what each key means and where it was set."""

from __future__ import annotations

import argparse
import sys

from unreid.config import get_cfg, load_config
from unreid.config.node import find
from unreid.config.printed import commented
from unreid.engine.commands.command import Command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config-file", default=None, metavar="F", help="the same as FILE")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="[FILE] [KEY VALUE]", help="file, keys to change")


def run(arguments: argparse.Namespace) -> None:
    file, words = arguments.config_file, list(arguments.words)
    if file is None and words and find(get_cfg(), words[0].partition("=")[0]) is None:
        file = words.pop(0)
    sys.stdout.write(commented(load_config(file, words)))


CONFIG = Command(
    name="config",
    summary="Print a config: all keys, what they mean, where they were set.",
    example="ClusterContrast_market.yml OPTIM.LR 1e-4",
    add_arguments=add_arguments,
    run=run,
)
