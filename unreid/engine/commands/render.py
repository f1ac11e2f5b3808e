"""``unreid render``: a small rendered dataset in the layout of a public one."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from unreid.engine.commands.command import Command
from unreid.engine.folder import check_writable
from unreid.rendering.layouts import LAYOUTS, render_layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layout", required=True, metavar="NAME", help=f"one of {', '.join(LAYOUTS)}")
    parser.add_argument("--out", required=True, metavar="DIR", help="the dataset's folder is made in it")
    parser.add_argument("--ids", type=int, default=8, metavar="N", help="training identities, and as many for the test")
    parser.add_argument("--cameras", type=int, metavar="C", help="cameras (default: 6, or what the dataset has)")
    parser.add_argument("--images", type=int, default=4, metavar="K", help="images per identity and camera or tracklet")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="world seed")
    parser.add_argument("--size", type=_size, default=(128, 64), metavar="HxW", help="image size (default: 128x64)")


def run(arguments: argparse.Namespace) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    check_writable(Path(arguments.out), "--out")
    folder = render_layout(
        arguments.layout,
        arguments.out,
        ids=arguments.ids,
        cameras=arguments.cameras,
        images=arguments.images,
        seed=arguments.seed,
        size=arguments.size,
    )
    sys.stdout.write(f"{folder}\n")


def _size(text: str) -> tuple[int, int]:
    height, separator, width = text.lower().partition("x")
    if not (separator and height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH, for example 128x64, not {text!r}")
    return int(height), int(width)


RENDER = Command(
    name="render",
    summary="Write a small rendered dataset in the layout of a public one.",
    example="--layout market1501 --out /tmp/rendered --ids 20 --images 4",
    add_arguments=add_arguments,
    run=run,
)
