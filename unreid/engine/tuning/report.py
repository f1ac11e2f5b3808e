"""A sweep as a table for the terminal, a CSV file, a picture, and a config file with the choice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from unreid.engine.tuning.choices import Space
from unreid.engine.tuning.sweep import Row
from unreid.utils.writing import atomic_write_text, csv_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("score", "stability", "silhouette", "crossing", "clusters", "outliers", "largest")


def table(rows: Sequence[Row], count: int) -> str:
    """The first ``count`` rows, aligned."""
    lines = [f"{'recipe':<44} {'eps':>5} {'min':>4}" + "".join(f"{name:>11}" for name in COLUMNS)]
    for row in rows[:count]:
        cells = "".join(f"{_shown(getattr(row, name)):>11}" for name in COLUMNS)
        lines.append(f"{row.space!s:<44} {row.eps:>5g} {row.min_samples:>4}{cells}")
    return "\n".join(lines)


def best_of_spaces(rows: Sequence[Row]) -> list[Row]:
    """The best row of every graph, best first."""
    best: dict[Space, Row] = {}
    for row in rows:
        best.setdefault(row.space, row)
    return list(best.values())


def write_csv(rows: Sequence[Row], path: Path, further: Sequence[Mapping[str, float]] = ()) -> None:
    """All rows.

    Args:
        further: columns of every row besides, such as what labels say about it.
    """
    lines: list[Iterable[Any]] = [
        ("centered", "metric", "k1", "k2", "eps", "min_samples", *COLUMNS, *(further[0] if further else ()))
    ]
    for number, row in enumerate(rows):
        own = [*vars(row.space).values(), row.eps, row.min_samples, *(getattr(row, name) for name in COLUMNS)]
        more = list(further[number].values()) if further else []
        lines.append(round(value, 5) if isinstance(value, float) else value for value in [*own, *more])
    atomic_write_text(path, csv_text(lines))


def write_config(values: Mapping[str, Any], base: str, path: Path) -> None:
    """A config file with these keys over ``base``, which may be empty."""
    tree: dict[str, Any] = {"_BASE_": base} if base else {}
    for key, value in values.items():
        *above, last = key.split(".")
        node = tree
        for name in above:
            node = node.setdefault(name, {})
        node[last] = value
    atomic_write_text(path, yaml.safe_dump(tree, sort_keys=False))


def figure(rows: Sequence[Row]) -> Figure:
    """Score and number of clusters over eps: a line a graph, at the density of the best row, which is marked.

    Args:
        rows: best first.
    """
    from matplotlib.figure import Figure

    best = rows[0]
    drawn = Figure(figsize=(9, 6), layout="constrained")
    score, counts = drawn.subplots(2, sharex=True, height_ratios=(3, 2))
    colors: dict[tuple[str, int, int], str] = {}
    for space in sorted({row.space for row in rows}, key=str):
        line = sorted(
            (row for row in rows if row.space == space and row.min_samples == best.min_samples),
            key=lambda row: row.eps,
        )
        color = colors.setdefault((space.metric, space.k1, space.k2), f"C{len(colors)}")
        style = {"color": color, "linestyle": "-" if space.centered else ":", "linewidth": 1.5}
        radii = [row.eps for row in line]
        score.plot(radii, [row.score for row in line], label=str(space), **style)
        counts.plot(radii, [row.clusters for row in line], **style)
    score.plot(best.eps, best.score, "k*", markersize=13, label="chosen")
    counts.plot(best.eps, best.clusters, "k*", markersize=13)
    score.set(ylabel="score without labels", ylim=(0, None))
    counts.set(ylabel="clusters", xlabel=f"eps (CLUSTER.MIN_SAMPLES {best.min_samples})", ylim=(0, None))
    for axes in (score, counts):
        axes.grid(alpha=0.3)
    score.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    return drawn


def _shown(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
