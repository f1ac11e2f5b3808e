"""Scores of the run, and how far seeds differ."""

from __future__ import annotations

import math
import statistics
from typing import Any

from unreid.report.facts import Facts
from unreid.report.markup import Html, joined, note, table
from unreid.report.section import Section

COLUMNS = ("mAP", "R1", "R5", "R10")
SELECTED = {
    "best_test": "best on the test set (chosen with test labels)",
    "label_free": "chosen without labels",
    "round": "at the round fixed before training",
}


def scores(facts: Facts) -> Section:
    """Tables of mAP and ranks in percent."""
    rows = _rows(facts.results)
    parts: list[Html] = []
    if rows:
        parts.append(table(["", *COLUMNS], rows, caption="This run, in percent"))
    else:
        parts.append(note("Nothing was evaluated, so there is no mAP: the data have no query and gallery."))
    if len(facts.repeats) > 1:
        parts.append(_spread(facts.repeats))
    elif rows:
        parts.append(
            note("One seed: how far seeds differ is not known. Train with --repeat K for a mean and a deviation.")
        )
    if facts.results and not facts.results.get("finished", True):
        parts.append(note("The run has not finished; these are the scores so far."))
    return Section("scores", "Scores", joined(parts))


def headline(facts: Facts) -> list[tuple[str, str]]:
    """(name, value) of what one wants to know first."""
    found: list[tuple[str, str]] = []
    for name, values in _sets(facts.results.get("last") or {}):
        found += [(f"{key}, {name}", f"{values[key]:.1f} %") for key in ("mAP", "R1") if key in values]
    if facts.rounds:
        last = facts.rounds[-1]
        found.append(("clusters", f"{last['clusters']:.0f}"))
        found.append(("outliers", f"{last['outliers']:.0f}"))
        if "label_free" in last:
            found.append(("label-free score", f"{last['label_free']:.0f} %"))
    return found


def _rows(results: dict[str, Any]) -> list[list[Any]]:
    rows = []
    for key, title in (("initial", "untrained"), ("last", "last epoch"), ("best", "selected epoch")):
        part = results.get(key) or {}
        epoch = f" ({part['epoch']})" if "epoch" in part else ""
        if key == "best" and part:
            rule = str(part.get("selected_by", "")).partition(":")[0]
            epoch += f", {SELECTED.get(rule, rule)}"
        for name, values in _sets(part):
            for ending, more in (("", ""), ("_rerank", ", re-ranked")):
                if f"mAP{ending}" in values:
                    cells = [_percent(values.get(f"{column}{ending}")) for column in COLUMNS]
                    rows.append([f"{name}, {title}{epoch}{more}", *cells])
    return rows


def _spread(repeats: dict[str, dict[str, Any]]) -> Html:
    found: dict[str, dict[str, list[float]]] = {}
    for results in repeats.values():
        for name, row in _sets(results.get("last") or {}):
            for column in COLUMNS:
                if column in row:
                    found.setdefault(name, {}).setdefault(column, []).append(row[column])
    if not found:
        return note(f"{len(repeats)} seeds were run, and none was evaluated.")
    rows: list[list[Any]] = []
    for name, columns in found.items():
        cells = []
        for column in COLUMNS:
            values = columns.get(column, [])
            mean = statistics.fmean(values) if values else math.nan
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            cells.append(f"{mean:.1f} ± {spread:.1f}" if values else "–")
        rows.append([f"{name}, mean ± standard deviation", *cells])
    for folder, results in repeats.items():
        for name, row in _sets(results.get("last") or {}):
            rows.append([f"{name}, {folder}", *(_percent(row.get(column)) for column in COLUMNS)])
    return table(["", *COLUMNS], rows, caption=f"Last epoch of {len(repeats)} seeds, in percent")


def _sets(part: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    return [(name, values) for name, values in part.items() if isinstance(values, dict)]


def _percent(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.1f}"
