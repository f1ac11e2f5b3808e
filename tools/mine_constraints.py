"""Derive TOC, SCP and STS relations: ``python tools/mine_constraints.py --config-file F [--sts-from pseudo.npz]``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout before any installed copy

from unreid.engine.mining import run_mining

if __name__ == "__main__":
    sys.exit(run_mining())
