"""Train or evaluate: ``python tools/main.py --config-file configs/CDSM_market.yml [KEY VALUE ...]``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout before any installed copy

from unreid.engine.cli import run_main

if __name__ == "__main__":
    sys.exit(run_main())
