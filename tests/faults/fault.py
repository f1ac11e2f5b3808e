"""What a fault is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Fault:
    """A change of one place that the named tests must notice.

    Attributes:
        file: below ``unreid/``.
        old: text that occurs exactly once in it.
        new: what stands there instead.
        tests: files or folders below ``tests/``, separated by blanks.
        further: those that are asked where none of these notices it.
    """

    file: str
    old: str
    new: str
    tests: str
    further: str = ""

    @property
    def path(self) -> str:
        return f"unreid/{self.file}"

    @property
    def room(self) -> str:
        return self.file.partition("/")[0]

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(f"tests/{name}" for name in self.tests.split())

    @property
    def further_targets(self) -> tuple[str, ...]:
        return tuple(f"tests/{name}" for name in self.further.split())

    def applied(self, text: str) -> str:
        """The file's text with the fault in it; ``ValueError`` unless the place is found once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.path}: {text.count(self.old)} places hold {self.old!r}, not one")
        return text.replace(self.old, self.new)

    def __str__(self) -> str:
        return f"{self.path}: {_short(self.old)} -> {_short(self.new) or 'nothing'}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."
