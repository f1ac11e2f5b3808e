"""``unreid convert``: a published checkpoint into ours, or ours into the layout of another repository."""

from __future__ import annotations

import argparse
import sys

from unreid.engine.commands.command import Command
from unreid.engine.commands.models import check_output
from unreid.engine.names import CHECKPOINT_LAYOUTS, FORMAT
from unreid.engine.preflight import check_weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    layouts = CHECKPOINT_LAYOUTS
    parser.add_argument("--in", dest="source", required=True, metavar="FILE", help="checkpoint to read")
    parser.add_argument("--out", dest="target", required=True, metavar="FILE", help="checkpoint to write")
    parser.add_argument("--overwrite", action="store_true", help="replace the file of --out if there is one")
    parser.add_argument("--from", dest="layout", default="auto", choices=["auto", *layouts], help="its repository")
    parser.add_argument("--to", default=FORMAT, choices=[FORMAT, *layouts], help="layout to write (default: ours)")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="read a file that holds more than tensors; it can then run any code, so only for files of known origin",
    )


def run(arguments: argparse.Namespace) -> None:
    check_weights(arguments.source, "--in")
    check_output(arguments.target, arguments.overwrite, "--out")
    from unreid.models.convert import convert_file, without

    converted = convert_file(
        arguments.source, arguments.target, layout=arguments.layout, to=arguments.to, trust=arguments.trust
    )
    _say(f"{arguments.target}: {len(converted.state)} tensors, layout {converted.layout} -> {arguments.to}")
    if converted.left_out:
        _say(without(converted.left_out))
    if converted.hints and arguments.to == FORMAT:
        _say("evaluate it with " + " ".join(f"{key} {value}" for key, value in converted.hints.items()))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


CONVERT = Command(
    name="convert",
    summary="Import a published checkpoint, or export one of ours.",
    example="--in spcl_market.pth.tar --out market.pth",
    add_arguments=add_arguments,
    run=run,
)
