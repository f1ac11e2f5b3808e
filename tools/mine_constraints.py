"""``unreid mine``: ``python tools/mine_constraints.py --config-file F [--sts-from pseudo.npz]``."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout before any installed copy

from unreid.engine.commands import MINE


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    return MINE.main(argv)


if __name__ == "__main__":
    sys.exit(main())
