"""Puts this checkout before any installed copy of the package: every script of this folder imports it first."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
