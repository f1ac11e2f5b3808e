"""What is known of each fault: a file that is kept, so that a run that was stopped goes on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

from tests.faults.fault import Fault
from tests.faults.trial import Outcome

LISTED = Path(__file__).with_name("listed.json")
DRAWN = Path(__file__).with_name("drawn.json")


class Record:
    """For each fault whether it was noticed when it was first put in, and when it was last; by its text."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.entries: dict[str, dict] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def add(self, fault: Fault, outcome: Outcome) -> None:
        entry = self.entries.setdefault(key(fault), {"fault": str(fault), "first": outcome.noticed})
        entry |= {"now": outcome.noticed, "by": outcome.by, "date": date.today().isoformat()}
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(self.entries, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        part.replace(self.file)

    def next(self, faults: Iterable[Fault]) -> list[Fault]:
        """Those never put in, then those not noticed, then the others, the longest ago first; whole folders last."""

        def turn(fault: Fault) -> tuple[bool, int, str]:
            entry = self.entries.get(key(fault), {"now": -1, "date": ""})
            return not fault.tests.endswith(".py"), int(entry["now"]), entry["date"]

        return sorted(faults, key=turn)

    def untried(self, faults: Iterable[Fault]) -> list[Fault]:
        return [fault for fault in faults if key(fault) not in self.entries]

    def missed(self, fault: Fault) -> bool:
        return not self.entries.get(key(fault), {"now": True})["now"]

    def table(self, faults: Sequence[Fault]) -> str:
        """Faults of each room: in the list, put in, not noticed at first, not noticed now."""
        rooms = sorted({fault.room for fault in faults})
        lines = ["| room | in the list | put in | not noticed at first | not noticed now |", "| --- " * 5 + "|"]
        for room in rooms:
            counts = self._counts([fault for fault in faults if fault.room == room])
            lines.append(f"| `{room}` | " + " | ".join(map(str, counts)) + " |")
        lines.append("| **all** | " + " | ".join(f"**{count}**" for count in self._counts(faults)) + " |")
        return "\n".join(lines)

    def expectation(self, faults: Sequence[Fault]) -> str:
        """The share of drawn faults that nobody noticed when they were first put in, and what it may be in truth."""
        _, count, missed, _ = self._counts(faults)
        low, high = interval(missed, count)
        return f"{missed} of {count} drawn faults were not noticed, {missed / count:.1%}; 95 %: {low:.1%} to {high:.1%}"

    def _counts(self, faults: Sequence[Fault]) -> tuple[int, int, int, int]:
        found = [self.entries[key(fault)] for fault in faults if key(fault) in self.entries]
        return (
            len(faults),
            len(found),
            sum(not entry["first"] for entry in found),
            sum(not entry["now"] for entry in found),
        )


def interval(missed: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z = 1.96
    middle = (missed + z * z / 2) / (count + z * z)
    half = z / (count + z * z) * math.sqrt(missed * (count - missed) / count + z * z / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def key(fault: Fault) -> str:
    """The same for the same change in the same file."""
    return hashlib.sha256("\0".join((fault.file, fault.old, fault.new)).encode()).hexdigest()[:16]
