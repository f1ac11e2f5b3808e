"""Import a published checkpoint, or export one of ours: ``python tools/convert_checkpoint.py --in F --out F``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from unreid.models.checkpoint_keys import ALIASES, LAYOUTS
from unreid.models.convert import FORMAT, convert_file
from unreid.utils.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    layouts = [*LAYOUTS, *ALIASES]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--in", dest="source", required=True, metavar="FILE", help="checkpoint to read")
    parser.add_argument("--out", dest="target", required=True, metavar="FILE", help="checkpoint to write")
    parser.add_argument("--from", dest="layout", default="auto", choices=["auto", *layouts], help="its repository")
    parser.add_argument("--to", default=FORMAT, choices=[FORMAT, *layouts], help="layout to write (default: ours)")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="read a file that holds more than tensors; it can then run any code, so only for files of known origin",
    )
    arguments = parser.parse_args(argv)
    try:
        converted = convert_file(
            arguments.source, arguments.target, layout=arguments.layout, to=arguments.to, trust=arguments.trust
        )
    except UserError as error:
        print(f"convert_checkpoint: {error}", file=sys.stderr)
        return 2
    print(f"{arguments.target}: {len(converted.state)} tensors, layout {converted.layout} -> {arguments.to}")
    if converted.hints and arguments.to == FORMAT:
        print("evaluate it with " + " ".join(f"{key} {value}" for key, value in converted.hints.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
