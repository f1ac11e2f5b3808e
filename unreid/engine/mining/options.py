"""What the miner's command line asks for; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = ("clip", "track")  # of comparison, see unreid/constraints/mining.py


@dataclass(frozen=True)
class Mining:
    """What the command line asks for; see ``--help``."""

    min_overlap: int = 0
    exclude_pairs: tuple[tuple[int, int], ...] = ()
    level: str = "clip"
    sts_from: str = ""
    allow_labels: bool = False
    bin: int = 100
    max_lag: int = 20_000
    min_count: int = 20
    unknown: float | None = None


def parse_pair(text: str) -> tuple[int, int]:
    """``2-8``, cameras from 1, as 0-based numbers."""
    one, separator, other = text.strip().partition("-")
    if not separator or int(one) < 1 or int(other) < 1:
        raise ValueError(f"{text!r} is no camera pair like 2-8")
    return int(one) - 1, int(other) - 1
