"""Train or evaluate: ``python tools/main.py --config-file configs/CDSM_market.yml [KEY VALUE ...]``."""

import sys

from unreid.engine.cli import run_main

if __name__ == "__main__":
    sys.exit(run_main())
