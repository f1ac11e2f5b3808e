"""What a part of the harness reports."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Tally:
    """Trials of one kind of fault.

    Attributes:
        tried: trials made.
        failures: one line per trial that ended otherwise than it should, with what is needed to repeat it.
        notes: counted outcomes that are no failure, such as "refused" or "read"; they go into the table.
    """

    tried: int = 0
    failures: list[str] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)

    def passed(self, note: str = "") -> None:
        """Counts a trial that ended as it should."""
        self.tried += 1
        if note:
            self.notes[note] = self.notes.get(note, 0) + 1

    def failed(self, what: str) -> None:
        """Counts a trial that did not."""
        self.tried += 1
        self.failures.append(what)
