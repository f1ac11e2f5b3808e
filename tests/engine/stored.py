"""What a test reads from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unreid.engine.checkpoint import read_run


def load_run(path: str | Path) -> dict[str, Any]:
    """The trainer state of a full checkpoint."""
    state = read_run(path).trainer
    assert state is not None
    return state
