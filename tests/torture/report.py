"""The table of tried and failed, on the terminal and in ``docs/reliability.md``."""

from __future__ import annotations

import datetime
import platform
from dataclasses import dataclass
from pathlib import Path

from tests.torture.parts import Part
from tests.torture.tally import Tally

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- torture: begin -->", "<!-- torture: end -->"


@dataclass(frozen=True)
class Row:
    """What one part gave, and how long it took in seconds."""

    part: Part
    tally: Tally
    seconds: float

    @property
    def failures(self) -> list[str]:
        return self.tally.failures


def table(rows: list[Row]) -> str:
    """Markdown, a line a part."""
    lines = ["| part | what is tried | how it must end | tried | failed | outcomes | minutes |", "|" + " --- |" * 7]
    for row in rows:
        notes = ", ".join(f"{count} {note}" for note, count in sorted(row.tally.notes.items()))
        cells = (row.part.name, row.part.title, row.part.expected, row.tally.tried, len(row.failures), notes or "-")
        lines.append("| " + " | ".join(map(str, cells)) + f" | {row.seconds / 60:.1f} |")
    return "\n".join(lines)


def write_page(rows: list[Row], page: Path = PAGE) -> None:
    """Puts the table between the page's two marks."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    when = f"{datetime.date.today().isoformat()}, {platform.machine()}, Python {platform.python_version()}"
    page.write_text(f"{before}{BEGIN}\n*{when}*\n\n{table(rows)}\n{END}{after}", encoding="utf-8")
