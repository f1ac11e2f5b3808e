"""What happened over the rounds."""

from __future__ import annotations

import math

from unreid.report.charts import Series, line_chart
from unreid.report.facts import Facts
from unreid.report.markup import joined, note
from unreid.report.section import Section

QUALITY = {
    "pair_precision": "pair precision",
    "pair_recall": "pair recall",
    "label_free": "label-free score",
}


def history(facts: Facts) -> Section:
    """Curves: scores and quality of the labels, clusters and outliers, losses."""
    rows, parts = facts.rounds, []
    if rows:
        x = [row["round"] for row in rows]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        shown = {key: key for key in columns if key.endswith(" mAP")} | {
            key: name for key, name in QUALITY.items() if key in columns
        }
        lines = [Series(name, x, [row.get(key, math.nan) for row in rows]) for key, name in shown.items()]
        label = f"round of {facts.labelling}"
        if lines:
            parts.append(
                line_chart(
                    "Scores and quality of the labels", lines, x_label=label, y_label="percent", y_range=(0, 100)
                )
            )
        lines = [Series(name, x, [row.get(key, math.nan) for row in rows]) for key, name in _counted(rows).items()]
        parts.append(line_chart("Clusters", lines, x_label=label, y_label="number"))
        sizes = [Series("largest", x, [row["largest"] for row in rows])]
        sizes.append(Series("mean", x, [row["mean_size"] for row in rows]))
        parts.append(line_chart("Size of a cluster", sizes, x_label=label, y_label="samples"))
    else:
        parts.append(note(facts.missing.get("rounds", "There was no round of clustering yet.")))
    losses = sorted({key for row in facts.metrics for key in row if key.startswith("loss/")})
    if losses:
        lines = [
            Series(
                name.removeprefix("loss/"),
                [row["step"] for row in facts.metrics if _number(row.get(name))],
                [row[name] for row in facts.metrics if _number(row.get(name))],
            )
            for name in losses
        ]
        parts.append(line_chart("Losses", lines[:6], x_label="step", y_label="loss"))
    return Section("history", "Over the rounds", joined(parts))


def _counted(rows: list[dict[str, float]]) -> dict[str, str]:
    """Columns that count, and their names: a method has outliers, lone samples, or both."""
    alone, outliers = any(row.get("alone") for row in rows), any(row["outliers"] for row in rows)
    named = {"clusters": "clusters"}
    if outliers or not alone:
        named["outliers"] = "outliers"
    if alone:
        named["alone"] = "alone in a cluster"
    return named


def _number(value: object) -> bool:
    return isinstance(value, (int, float))
