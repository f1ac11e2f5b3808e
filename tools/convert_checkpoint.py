"""Import a published checkpoint, or export one of ours: ``python tools/convert_checkpoint.py --in F --out F``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout before any installed copy

from unreid.engine.cli import STATUSES, guarded
from unreid.engine.folder import check_writable
from unreid.engine.names import CHECKPOINT_LAYOUTS, FORMAT
from unreid.engine.preflight import check_file
from unreid.utils.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=STATUSES)
    parser.add_argument("--in", dest="source", required=True, metavar="FILE", help="checkpoint to read")
    parser.add_argument("--out", dest="target", required=True, metavar="FILE", help="checkpoint to write")
    layouts = CHECKPOINT_LAYOUTS
    parser.add_argument("--from", dest="layout", default="auto", choices=["auto", *layouts], help="its repository")
    parser.add_argument("--to", default=FORMAT, choices=[FORMAT, *layouts], help="layout to write (default: ours)")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="read a file that holds more than tensors; it can then run any code, so only for files of known origin",
    )
    arguments = parser.parse_args(argv)
    return guarded(lambda: convert(arguments), "convert_checkpoint")


def convert(arguments: argparse.Namespace) -> None:
    """Converts, and says what came out."""
    check_file(arguments.source, "--in")
    target = Path(arguments.target)
    if target.is_dir():
        raise UserError(f"--out: {target} is a folder: name a file in it.")
    check_writable(target.parent, "The folder of --out")
    from unreid.models.convert import convert_file

    converted = convert_file(
        arguments.source, arguments.target, layout=arguments.layout, to=arguments.to, trust=arguments.trust
    )
    print(f"{arguments.target}: {len(converted.state)} tensors, layout {converted.layout} -> {arguments.to}")
    if converted.hints and arguments.to == FORMAT:
        print("evaluate it with " + " ".join(f"{key} {value}" for key, value in converted.hints.items()))


if __name__ == "__main__":
    sys.exit(main())
