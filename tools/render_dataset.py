"""``unreid render``: ``python tools/render_dataset.py --layout market1501 --out /tmp/rendered``."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout before any installed copy

from unreid.engine.commands import RENDER


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    return RENDER.main(argv, script="render_dataset")


if __name__ == "__main__":
    sys.exit(main())
