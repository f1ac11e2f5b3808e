"""The trained networks that come with the package, found by bare name from any current directory."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "weights"
SUFFIX = ".pth"
CARD = ".md"
"""What a network was trained on, what it scores and where it fails stands beside its file, under its name."""


def shipped_names() -> list[str]:
    """Names that :func:`locate_weights` knows."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def locate_weights(named: str | Path) -> Path:
    """The weight file that a name means: a file of that name wins, then a shipped network is taken.

    Returns:
        The file. If there is neither, the path as it was given.
    """
    path = Path(named)
    if os.path.exists(path) or str(named) != path.name or path.suffix:
        return path
    shipped = FOLDER / f"{named}{SUFFIX}"
    return shipped if os.path.isfile(shipped) else path


def summary(name: str) -> str:
    """The first sentence of a network's card."""
    text = (FOLDER / f"{name}{CARD}").read_text(encoding="utf-8")
    body = text.split("\n---\n", 1)[-1]
    return next(line for line in body.splitlines() if line and not line.startswith("#"))
