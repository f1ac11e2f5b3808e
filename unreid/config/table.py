"""``docs/config.md``: every key of the package as a table. ``python -m unreid.config.table FILE`` writes it."""

from __future__ import annotations

import sys

from unreid.config.defaults import get_cfg
from unreid.config.key import Key
from unreid.config.keys import KEYS, SECTIONS
from unreid.config.node import leaves
from unreid.config.printed import as_yaml
from unreid.utils.writing import atomic_write_text

INTRODUCTION = """# Config keys

Written by `make docs` from `unreid/config/keys/`; a test compares them. `unreid config FILE` prints the same texts
beside the values of a config, and where each was set. How to add keys of your own: [compose.md](compose.md).
"""
HEADER = "| Key | Default | Allowed | Meaning |\n|---|---|---|---|\n"


def table() -> str:
    """All keys of the package as Markdown, one table a section."""
    sections: dict[str, list[str]] = {}
    for key, _ in leaves(get_cfg()):
        sections.setdefault(key.rpartition(".")[0], []).append(_row(key, KEYS[key]))
    text = INTRODUCTION
    for name, rows in sections.items():
        title = f"`{name}`" if name else "General"
        note = f"{SECTIONS[name][:1].upper()}{SECTIONS[name][1:]}.\n\n" if name in SECTIONS else ""
        text += f"\n## {title}\n{note}{HEADER}{''.join(rows)}"
    return text


def _row(key: str, entry: Key) -> str:
    old = f" (formerly {', '.join(f'`{name}`' for name in entry.formerly)})" if entry.formerly else ""
    cells = (f"`{key}`", f"`{as_yaml(entry.default)}`", entry.rule.allowed, entry.text + old)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


if __name__ == "__main__":
    atomic_write_text(sys.argv[1], table())
