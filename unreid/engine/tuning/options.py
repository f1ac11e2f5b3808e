"""What ``unreid tune`` is asked for; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Values:
    """The values that are swept; see ``--help``."""

    k1: tuple[int, ...] = (10, 20, 30)
    k2: tuple[int, ...] = (1, 6)
    ca_k1: tuple[int, ...] = (10, 20)
    ca_k2: tuple[int, ...] = (3,)
    eps: tuple[float, ...] = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
    min_samples: tuple[int, ...] = (2, 4)


@dataclass(frozen=True)
class Tuning:
    """A sweep: its values, where it writes, and how it is judged.

    Attributes:
        base: the config file as the user named it; "" without one.
        features: an ``.npz`` file instead of the config's data and network; "" for none.
        out: folder of table, picture and config.
        subsets: random subsets that stability is measured on.
        compare_labels: say afterwards what labels think of the choice.
    """

    base: str = ""
    features: str = ""
    out: Path = Path("logs/tune")
    subsets: int = 2
    compare_labels: bool = False
    values: Values = field(default_factory=Values)
