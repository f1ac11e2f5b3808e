"""Writes a small rendered dataset in the layout of a public one.

Example::

    python tools/render_dataset.py --layout market1501 --out /tmp/rendered --ids 20 --images 4
    python tools/main.py --config-file configs/ClusterContrast_market.yml DATASETS.ROOT /tmp/rendered ...
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout before any installed copy

from unreid.engine.cli import STATUSES, guarded
from unreid.engine.folder import check_writable
from unreid.rendering.layouts import LAYOUTS, render_layout


def main(arguments: list[str] | None = None) -> int:
    """Parses the command line and renders; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], epilog=STATUSES)
    parser.add_argument("--layout", required=True, metavar="NAME", help=f"one of {', '.join(LAYOUTS)}")
    parser.add_argument("--out", required=True, metavar="DIR", help="the dataset's folder is made in it")
    parser.add_argument("--ids", type=int, default=8, metavar="N", help="training identities, and as many for the test")
    parser.add_argument("--cameras", type=int, metavar="C", help="cameras (default: 6, or what the dataset has)")
    parser.add_argument("--images", type=int, default=4, metavar="K", help="images per identity and camera or tracklet")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="world seed")
    parser.add_argument("--size", type=_size, default=(128, 64), metavar="HxW", help="image size (default: 128x64)")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return guarded(lambda: render(given), "render_dataset")


def render(given: argparse.Namespace) -> None:
    """Renders, and says where."""
    check_writable(Path(given.out), "--out")
    folder = render_layout(
        given.layout,
        given.out,
        ids=given.ids,
        cameras=given.cameras,
        images=given.images,
        seed=given.seed,
        size=given.size,
    )
    print(folder)


def _size(text: str) -> tuple[int, int]:
    height, separator, width = text.lower().partition("x")
    if not (separator and height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH, for example 128x64, not {text!r}")
    return int(height), int(width)


if __name__ == "__main__":
    sys.exit(main())
