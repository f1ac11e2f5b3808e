"""The record of ``gpu_check.py`` as the table of docs/benchmarks.md.

    python -m benchmarks.gpu_table FILE [--write-docs]

A part that failed stands in the table with its error. Records of a CPU or of tiny sizes are shown and never written
into the page.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.methods import DOCS, replace_block

Record = dict[str, Any]
Line = tuple[str, str, Callable[[Record], str]]


def _labels(found: Record, n: int | None = None) -> str:
    """Every search of a size: seconds, and memory."""
    rows = found["labels"]
    first = rows[0]["n"] if n is None else n
    cells = [
        f"{row['search']}: {row['total']:.2f} s ({row['neighbours']:.2f} + {row['jaccard']:.2f} + "
        f"{row['dbscan']:.2f}), {row['peak_mib']:,.0f} MiB"
        for row in rows
        if row["n"] == first
    ]
    return "; ".join(cells) if cells else "not in the record"


def _hdc(found: Record) -> str:
    return "; ".join(f"{row['seeding'] + row['fit']:.2f} s, {row['rounds']} iterations" for row in found["hdc"])


def _waits(found: Record) -> str:
    return ", ".join(f"{place} ({times}x)" for place, times in found["host_waits"].items()) or "none"


def _tests(found: Record) -> str:
    text = f"{found['passed']} passed, {len(found['failed'])} failed, {found['skipped']} skipped"
    return ": ".join(filter(None, (text, "; ".join(found["failed"]))))


def _graphs(found: Record) -> str:
    cells = []
    for name, row in found["graphs"].items():
        times = f"{row['graph_ms']:.1f} ms ({row['speedup']:.2f}x)" if row["graph_ms"] else row["reason"]
        cells.append(f"{name} {row['eager_ms']:.1f} ms, as a graph {times}")
    return "; ".join(cells)


def _rates(found: Record) -> str:
    rates = found["images_per_second"]
    return f"{rates['loop']:,.0f} of {rates['bare']:,.0f} images/s"


def _extraction(found: Record) -> str:
    return "; ".join(
        f"{amp}: {row['extraction']:,.0f} images/s ({row['ratio']:.2f})" for amp, row in found["precisions"].items()
    )


def _epoch(found: Record) -> str:
    ours, theirs = found["projection"]["ours"], found["projection"]["reference"]
    return (
        f"{ours['epoch_seconds']:.1f} s and {ours['schedule_hours']:.2f} h; references' way "
        f"{theirs['epoch_seconds']:.1f} s and {theirs['schedule_hours']:.2f} h"
    )


def _memory(found: Record) -> str:
    slow = {name: row["ratio"] for name, row in found.items() if isinstance(row, dict) and row["ratio"] > 1.5}
    return ", ".join(f"{name} {ratio:.1f}" for name, ratio in slow.items()) or "every one"


def _negatives(found: Record) -> str:
    return "; ".join(
        f"{row['negatives']:,}: {row['faster']:.1f}x"
        for row in found["rows"][1:]
        if row["noise"] == found["rows"][0]["noise"]
    )


LINES: dict[str, tuple[Line, ...]] = {
    "tests": (("tests that need CUDA", "all pass", _tests),),
    "train": (
        (
            "loop / bare forward, backward and step, bfloat16",
            "at least 0.9",
            lambda found: f"{found['loop_of_bare']:.2f}: {_rates(found)}",
        ),
        ("host waits in 8 training steps", "none", _waits),
    ),
    "train_float32": (("the same in float32", "", lambda found: f"{found['loop_of_bare']:.2f}: {_rates(found)}"),),
    "graphs": (("CUDA graphs of the step", "", _graphs),),
    "cluster": (
        ("kNN + Jaccard + DBSCAN, 12,936 x 2048", "0.5 s", _labels),
        ("the same, 32,621 x 2048", "3 s", lambda found: _labels(found, 32621)),
        ("HDC, 12,936 x 2048", "seconds", _hdc),
    ),
    "million": (("kNN + Jaccard + DBSCAN, 1,000,000 x 256", "", _labels),),
    "extract": (("extraction (of the bare network)", "at least 0.9", _extraction),),
    "epoch": (("epoch of 400 steps, schedule of 50 epochs", "ratio", _epoch),),
    "memory": (("memories above 1.5 of Cluster Contrast's step", "none", _memory),),
    "negatives": (("sampled negatives of 100,000 rows: faster than all", "", _negatives),),
}


def markdown(record: Record) -> str:
    """The table and the line above it."""
    lines = [heading(record), "", "| | target | measured |", "| --- | --- | --- |"]
    for name, part in record["parts"].items():
        for what, target, cell in LINES[name]:
            measured = f"**failed**: {part['error']}" if "error" in part else cell(part["result"])
            lines.append(f"| {what} | {target} | {measured.replace('|', '/')} |")
    return "\n".join(lines)


def heading(record: Record) -> str:
    """Machine, versions, day and commit, as the first part that has them says."""
    results = [part.get("result", {}) for part in record["parts"].values()]
    known = next((result for result in results if "machine" in result), None)
    if known is None:
        return f"No part of this record has a result ({record['device']})."
    versions = known["versions"]
    small = " **Tiny sizes: no measurement.**" if record["small"] else ""
    torch = f"torch {versions['torch']}, Python {versions['python']}"
    made = f"{known['date'][:10]}, {known['machine']}, {torch}, commit {known['commit']}"
    return f"{made}, {record['seconds']:.0f} s.{small}"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("record", type=Path, help="what gpu_check.py wrote")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/benchmarks.md")
    args = parser.parse_args(argv)
    record = json.loads(args.record.read_text())
    print(markdown(record))
    if args.write_docs:
        if record["small"] or record["device"] == "cpu":
            raise SystemExit("a record of tiny sizes or of a CPU does not go into the page: nothing was written")
        DOCS.write_text(replace_block(DOCS.read_text(), "gpu", markdown(record)))


if __name__ == "__main__":
    main()
