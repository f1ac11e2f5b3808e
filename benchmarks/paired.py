"""Which differences between methods are larger than noise: seeds in pairs, with an interval.

    python benchmarks/paired.py [FILE ...] [--write-docs]       # default: the tables that benchmarks/methods.py left

Runs of one seed share their start weights and draws, so a method is compared with another seed by seed. With few seeds
the interval is that of Student's t; it assumes that differences are roughly normal, and says nothing about other worlds
or data sets than those of the runs.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

RESULTS = Path(__file__).resolve().parent / "results"


def interval(differences: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Ends of the interval of the mean by Student's t.

    Raises:
        ValueError: fewer than two differences have no spread.
    """
    if len(differences) < 2:
        raise ValueError(f"an interval needs at least two differences, not {len(differences)}")
    mean = statistics.fmean(differences)
    half = half_width(statistics.stdev(differences), len(differences), confidence)
    return mean - half, mean + half


def half_width(deviation: float, count: int, confidence: float = 0.95) -> float:
    """Half of the interval: the mean difference that ``count`` pairs of that standard deviation make visible."""
    from scipy.stats import t

    return float(t.ppf((1 + confidence) / 2, count - 1)) * deviation / math.sqrt(count)


def paired(one: Mapping[object, float], other: Mapping[object, float]) -> list[float]:
    """``one - other`` for every seed that both have, in the order of ``one``."""
    return [value - other[seed] for seed, value in one.items() if seed in other]


def table(scores: Mapping[str, Mapping[object, float]], base: str) -> str:
    """Every method against ``base``: pairs, mean difference, interval, and whether it leaves out 0."""
    lines = [f"| against {base} | pairs | mAP | 95 % interval | larger than noise |", "| --- | --- | --- | --- | --- |"]
    for name, mine in scores.items():
        differences = paired(mine, scores[base])
        if name == base or not differences:
            continue
        cells = [name, str(len(differences)), f"{statistics.fmean(differences):+.1f}", "", "one pair: not known"]
        if len(differences) > 1:
            low, high = interval(differences)
            cells[3:] = [f"{low:+.1f} to {high:+.1f}", "yes" if low > 0 or high < 0 else "no"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def read(path: Path) -> dict[str, dict[object, float]]:
    """method -> seed -> mAP of a file of ``benchmarks/methods.py``."""
    found: dict[str, dict[object, float]] = {}
    content = json.loads(path.read_text())
    for run in content["runs"] if isinstance(content, dict) else content:
        found.setdefault(run["method"], {})[run["seed"]] = run["mAP"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, default=[RESULTS / "methods.json", RESULTS / "cameras.json"])
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/benchmarks.md")
    options = parser.parse_args()
    tables = []
    for path in options.files:
        scores = read(path)
        tables.append(f"`{path.name}`:\n\n{table(scores, next(iter(scores)))}")
    text = "\n\n".join(tables)
    print(text)
    if options.write_docs:
        from benchmarks.methods import DOCS, replace_block

        DOCS.write_text(replace_block(DOCS.read_text(), "paired", text))


if __name__ == "__main__":
    main()
