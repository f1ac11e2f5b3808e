"""``unreid convert``: ``python tools/convert_checkpoint.py --in F --out F``."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout before any installed copy

from unreid.engine.commands import CONVERT


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    return CONVERT.main(argv, script="convert_checkpoint")


if __name__ == "__main__":
    sys.exit(main())
