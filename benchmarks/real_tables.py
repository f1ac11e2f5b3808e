"""The tables of the benchmark on photographs, for ``docs/benchmarks.md``."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.methods import replace_block, spread
from benchmarks.paired import interval
from benchmarks.real_rows import HISTOGRAM, METHODS, PUBLISHED, RANDOM, RAW, SETS, ZERO_SHOT, Row

DOCS = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
TITLES = {"cuhk01": "CUHK01", "cuhk03p1": "CUHK03, camera pair 1"}
Runs = Mapping[str, Mapping[str, Any]]


def write_docs(done: Runs, path: Path = DOCS) -> None:
    """Puts the tables into the page, between their markers."""
    text = path.read_text()
    for name, table in (("real", scores(done)), ("real-rounds", by_round(done))):
        text = replace_block(text, name, table)
    path.write_text(text)


def scores(done: Runs) -> str:
    """One table a set: every start and method, mean and spread over its seeds, and the gain over where it started."""
    found = by_name(done)
    tables = []
    for data in SETS:
        mine = {(start, name): runs for (one, start, name), runs in found.items() if one == data}
        if not mine:
            continue
        lines = [
            f"**{TITLES[data]}**",
            "",
            "| start | method | seeds | mAP | R1 | mAP, centred | over the start | label, train, test: CPU min |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        lines += [_line(start, name, runs) for (start, name), runs in sorted(mine.items(), key=_place)]
        tables.append("\n".join(lines))
    return "\n\n".join([_how(done), *tables])


def by_round(done: Runs) -> str:
    """What the labels were worth, round by round, of the first seed of every method."""
    lines = [
        "| set | start, method | round | clusters | outliers | pair precision | cross-camera recall | mAP after it |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (data, start, name), runs in sorted(
        by_name(done).items(), key=lambda item: (item[0][0], _place((item[0][1:], 0)))
    ):
        rounds = runs[min(runs)].get("rounds", [])
        part = max(4, len(rounds) // 4)
        ends = (0, 1, len(rounds) - 1)
        kept = [number for number in range(len(rounds)) if number in ends or number % part == part - 1]
        for number in kept:
            row = rounds[number]
            cells = [
                *((TITLES[data], f"{start}, {name}") if number == 0 else ("", "")),
                str(number + 1),
                f"{row['clusters']:.0f}",
                f"{row['outliers']:.0f}",
                f"{row['pair_precision']:.2f}",
                f"{row['cross_camera_recall']:.3f}",
                f"{row['mAP']:.1f}" if "mAP" in row else "",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def by_name(done: Runs) -> dict[tuple[str, str, str], dict[int, Mapping[str, Any]]]:
    """(set, start, method) -> seed -> record."""
    found: dict[tuple[str, str, str], dict[int, Mapping[str, Any]]] = {}
    for key, record in done.items():
        row = Row.of(key)
        found.setdefault((row.data, row.start, row.name), {})[row.seed] = record
    return found


def _place(item: tuple[tuple[str, str], Any]) -> tuple[int, str, int]:
    start, name = item[0]
    names = [RAW, HISTOGRAM, PUBLISHED, ZERO_SHOT, *METHODS]
    return (
        0 if start == "-" else 1 if start == RANDOM else 2,
        start,
        names.index(name) if name in names else len(names),
    )


def _line(start: str, name: str, runs: Mapping[int, Mapping[str, Any]]) -> str:
    gains = [run["last"]["mAP"] - run["initial"]["mAP"] for run in runs.values() if "initial" in run]
    cells = [
        start,
        name,
        str(len(runs)) if gains else "",
        spread([run["last"]["mAP"] for run in runs.values()]),
        spread([run["last"]["R1"] for run in runs.values()]),
        spread([run["centred"]["mAP"] for run in runs.values()]),
        gain(gains),
        f"{statistics.fmean(run['cpu'] for run in runs.values()) / 60:.1f}" if gains else "",
    ]
    return f"| {' | '.join(cells)} |"


def gain(values: Sequence[float]) -> str:
    """Mean, and from two seeds on the 95 % interval of it."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:+.1f}"
    low, high = interval(values)
    return f"{statistics.fmean(values):+.1f} ({low:+.1f} to {high:+.1f})"


def _how(done: Runs) -> str:
    dates = sorted({str(record["date"]) for record in done.values()})
    machines = sorted({str(record["machine"]) for record in done.values()})
    return (
        f"{dates[0]}{f' to {dates[-1]}' if len(dates) > 1 else ''}, {'; '.join(machines)}. Last epoch, mean ± standard "
        "deviation over the seeds; *centred*: ranked by camera-centred features (`TEST.CAMERA_CENTERED`); *over the "
        "start*: against the same weights before training, with the 95 % interval where there are several seeds."
    )
