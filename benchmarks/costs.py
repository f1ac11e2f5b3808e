"""What a round of labelling and a training step cost, for every method and part, in short runs on the rendered world.

    python benchmarks/costs.py [--rows O2CAP PPLR] [--write-docs] [--json FILE]

Processor time of one thread, the least of five rounds after the first: ``label`` is everything between two trainings
but the extraction (neighbours, graph, clustering, agreements), ``step`` an epoch's time over its steps, loading and
network included. Both are also given as a multiple of Cluster Contrast's. The rendered world is small (1,484 images),
and so is the net (0.3 M parameters): the parts beside the network weigh far more here than beside a ResNet-50.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.isolated import call  # noqa: E402
from benchmarks.methods import DOCS, QUIET, Entry, replace_block  # noqa: E402

EPOCHS, ITERS = 6, 10
SHORT = [
    *("OPTIM.EPOCHS", str(EPOCHS + 1), "DATALOADER.ITERS", str(ITERS), "CLUSTER.WARMUP.ROUNDS", "0"),
    *("WARMUP.EPOCHS", "1", "WARMUP.ITERS", "40"),
]
PROXIES = ("MEMORY.NAME", "ProxyMemory", "MEMORY.TEMP", "0.07", "MEMORY.MOMENTUM", "0.2")
CC = "ClusterContrast"
ROWS = {
    "ClusterContrast": Entry(CC),
    "SpCL": Entry("SpCL"),
    "CDSM": Entry("CDSM"),
    "ISE": Entry("ISE"),
    "3C (HDC, CIE, CHD)": Entry("CCC_HDC"),
    "CAP": Entry("CAP"),
    "O2CAP": Entry("O2CAP"),
    "PPLR": Entry("PPLR"),
    "PPLR, cameras": Entry("PPLR", ("METHOD.PPLR.CAMERAS", "True")),
    "CA-Jaccard": Entry("CAJaccard"),
    "Infomap": Entry(CC, ("CLUSTER.NAME", "Infomap")),
    "sklearn/HDBSCAN": Entry(CC, ("CLUSTER.NAME", "sklearn/HDBSCAN")),
    "HDC": Entry(CC, ("CLUSTER.NAME", "HDC", "CLUSTER.NUM_CLUSTERS", "100")),
    "KMeans": Entry(CC, ("CLUSTER.NAME", "KMeans", "CLUSTER.NUM_CLUSTERS", "100")),
    "camera_entropy": Entry(CC, ("METHOD.EXTRAS", "['camera_entropy']")),
    "support_samples": Entry(CC, ("METHOD.EXTRAS", "['support_samples']")),
    "ProxyMemory": Entry(CC, PROXIES),
    "chd": Entry(CC, ("MEMORY.UPDATE", "chd")),
    "mean teacher": Entry(CC, ("MODEL.EMA.ENABLED", "True")),
}
LABELLING = ("neighbors", "cluster", "agreement")


def measure(name: str) -> dict[str, float]:
    """Milliseconds of a row's labelling and step; runs in a process of its own."""
    import torch

    from unreid.config import load_config
    from unreid.engine.run import run

    torch.set_num_threads(1)
    entry = ROWS[name]
    with tempfile.TemporaryDirectory() as folder, processor_time_of_phases() as phases:
        places = ["OUTPUT_DIR", folder, "TEST.EVAL_START", "False"]
        overrides = [*QUIET, *SHORT, *entry.overrides, *places]
        run(load_config(ROOT / "configs" / f"{entry.config}_synthetic.yml", overrides))
    label = sum(min(phases[phase][1:]) for phase in LABELLING if len(phases[phase]) > 1)
    return {"label_ms": 1e3 * label, "step_ms": 1e3 * min(phases["train"][2:]) / ITERS}


@contextmanager
def processor_time_of_phases() -> Iterator[dict[str, list[float]]]:
    """Collects the processor seconds of every phase of a run, entry by entry."""
    from unreid.utils import events, phases

    found: dict[str, list[float]] = defaultdict(list)

    class Listed(phases.PhaseTimer):
        @contextmanager
        def phase(self, name: str) -> Iterator[phases.PhaseStats]:
            with super().phase(name) as stats:
                yield stats
            found[name].append(stats.seconds)

    clock, timer = phases.time, events.PhaseTimer
    phases.time = SimpleNamespace(perf_counter=time.process_time)  # type: ignore[assignment]
    events.PhaseTimer = Listed  # type: ignore[misc]
    try:
        yield found
    finally:
        phases.time, events.PhaseTimer = clock, timer  # type: ignore[misc]


def markdown(rows: dict[str, dict[str, float]]) -> str:
    base = rows["ClusterContrast"]
    lines = [
        "| | label, ms | of Cluster Contrast | step, ms | of Cluster Contrast |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, row in rows.items():
        label, step = row["label_ms"], row["step_ms"]
        cells = f"{label:.0f} | {label / base['label_ms']:.1f} | {step:.1f} | {step / base['step_ms']:.2f}"
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--json", type=Path, default=None, help="also write the numbers here")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("--worker", default=None, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.worker:
        print("\n" + json.dumps(measure(args.worker)))
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # inherited by the workers
    rows: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(["ClusterContrast", *args.rows]):
        rows[name] = call(__file__, ["--worker", name])
        print(f"{name}: {rows[name]['label_ms']:.0f} ms a labelling, {rows[name]['step_ms']:.1f} ms a step", flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(markdown(rows))
    if args.write_docs:
        DOCS.write_text(replace_block(DOCS.read_text(), "costs", markdown(rows)))


if __name__ == "__main__":
    main()
