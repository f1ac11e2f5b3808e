"""The config: what differs from the defaults, and where it was set."""

from __future__ import annotations

from unreid.report.facts import Facts, Setting
from unreid.report.markup import Html, joined, note, table, tag
from unreid.report.section import Section


def config_diff(facts: Facts) -> Section:
    """A table for each place where settings were made, the last word first."""
    parts: list[Html] = []
    if not facts.settings:
        parts.append(note("Every key is at its default."))
    elif not any(setting.origin for setting in facts.settings):
        parts.append(note("The run did not write down where it got these settings from."))
        parts.append(_table("Not at the default", facts.settings))
    else:
        for title, rows in _groups(facts.settings):
            parts.append(_table(title, rows))
    if facts.environment:
        lines = [
            [key, "–" if value is None else str(value)]
            for key, value in facts.environment.items()
            if key not in ("origins", "packages")
        ]
        lines += [[key, value] for key, value in (facts.environment.get("packages") or {}).items()]
        inside = table(["", "value"], lines, caption="Machine and versions", numbers=False)
        parts.append(tag("details", tag("summary", "Machine, command and versions"), inside))
    return Section("config", "Config", joined(parts))


def _groups(settings: list[Setting]) -> list[tuple[str, list[Setting]]]:
    """Command line, the run's own file, its bases: origins in the order in which a later one wins."""
    files = list(dict.fromkeys(_file(setting.origin) for setting in settings))
    own = [name for name in files if name and name != "command line" and "base/" not in name.replace("\\", "/")]
    order = ["command line", *own, *(name for name in files if name not in own and name != "command line" and name)]
    titles = {"command line": "Set on the command line"} | {name: f"Set in {name}" for name in own}
    found = []
    for name in [*order, ""]:
        rows = [setting for setting in settings if _file(setting.origin) == name]
        title = titles.get(name, f"From the base {name}" if name else "Set elsewhere")
        if rows:
            found.append((title, rows))
    return found


def _file(origin: str) -> str:
    name, colon, line = origin.rpartition(":")
    return name if colon and line.isdigit() else origin


def _table(title: str, settings: list[Setting]) -> Html:
    rows = [[tag("code", one.key), tag("code", one.value), tag("code", one.default)] for one in settings]
    return table(["key", "value", "default"], list(rows), caption=title, numbers=False)
