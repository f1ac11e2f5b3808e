"""Derive TOC, SCP and STS relations: ``python tools/mine_constraints.py --config-file F [--sts-from pseudo.npz]``."""

import sys

from unreid.engine.mining import run_mining

if __name__ == "__main__":
    sys.exit(run_mining())
