"""Methods on several rendered worlds: which differences hold beyond the world that everything was written on?

    python benchmarks/worlds.py [--worlds 0 1 2 3 4] [--methods ClusterContrast O2CAP] [--seeds 1] [--write-docs]

A world is a seed of the renderer: other people, other cameras. Runs of one world and seed share images and start
weights, so methods are compared pair by pair, with the interval of Student's t over the worlds. Finished runs are kept
in ``benchmarks/results/worlds.json``; the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.isolated import call
from benchmarks.methods import CAMERAS, DOCS, METHODS, machine, replace_block, spread
from benchmarks.paired import table
from unreid.utils.writing import atomic_write_text

FILE = Path(__file__).resolve().parent / "results" / "worlds.json"
SCRIPT = Path(__file__).resolve().parent / "methods.py"
BASELINES = ("raw pixels", "striped colour histogram")


def baselines(world: int) -> dict[str, float]:
    """mAP without learning, by name."""
    from unreid.config import load_config
    from unreid.data.datasets import build_dataset
    from unreid.evaluation import raw_pixel_features, striped_histogram_features
    from unreid.evaluation.evaluator import Evaluator

    config = SCRIPT.parents[1] / "configs" / "ClusterContrast_synthetic.yml"
    dataset = build_dataset("Synthetic", load_config(config, ["DATASETS.SYNTHETIC.SEED", str(world)]))
    evaluator = Evaluator(dataset.query, dataset.gallery)
    found = {}
    for name, describe in zip(BASELINES, (raw_pixel_features, striped_histogram_features), strict=True):
        sides = (describe([t.paths[0] for t in split.tracklets]) for split in (dataset.query, dataset.gallery))
        found[name] = evaluator.score(*sides)["mAP"]
    return found


def train(method: str, world: int, seed: int) -> dict[str, float]:
    """Scores of one run, in a process of its own."""
    flags = ["--cameras"] if method in CAMERAS else []
    answer = call(str(SCRIPT), [*flags, "--worker", method, seed, "--set", "DATASETS.SYNTHETIC.SEED", world])
    return {name: answer[name] for name in ("untrained", "mAP", "R1", "cpu")}


def markdown(runs: dict[str, dict[str, Any]]) -> str:
    """Every method by world, and against Cluster Contrast over the worlds."""
    scores: dict[str, dict[tuple[int, int], float]] = {}
    for key, run in runs.items():
        method, world, seed = key.split("/")
        scores.setdefault(method, {})[(int(world), int(seed))] = run["mAP"]
    worlds = sorted({world for found in scores.values() for world, _ in found})
    lines = [f"| mAP | {' | '.join(f'world {world}' for world in worlds)} | all |", "| --- " * (len(worlds) + 2) + "|"]
    for method, found in scores.items():
        cells = [[value for (world, _), value in found.items() if world == one] for one in worlds]
        means = [statistics.fmean(cell) for cell in cells if cell]
        lines.append(f"| {method} | {' | '.join(spread(cell) if cell else '' for cell in cells)} | {spread(means)} |")
    # A world is the unit: several seeds of one are averaged first, for they share what is particular to it.
    by_world: dict[str, dict[object, float]] = {}
    for method, found in scores.items():
        if method not in BASELINES:
            of_world = {one: [value for (world, _), value in found.items() if world == one] for one in worlds}
            by_world[method] = {one: statistics.fmean(values) for one, values in of_world.items() if values}
    return "\n".join([*lines, "", table(by_world, "ClusterContrast")])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--methods", nargs="+", default=["ClusterContrast", "O2CAP"], choices=[*CAMERAS, *METHODS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/benchmarks.md")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    content = json.loads(FILE.read_text()) if FILE.is_file() else {"machine": machine(), "runs": {}}
    runs = content["runs"]

    def keep() -> None:
        atomic_write_text(FILE, json.dumps(content, indent=1) + "\n")

    for world in options.worlds:
        if f"{BASELINES[0]}/{world}/0" not in runs:
            runs |= {f"{name}/{world}/0": {"mAP": value} for name, value in baselines(world).items()}
            keep()
        for seed in options.seeds:
            for method in options.methods:
                key = f"{method}/{world}/{seed}"
                if key not in runs:
                    runs[key] = train(method, world, seed)
                    keep()
                    print(f"{key}: mAP {runs[key]['mAP']:.1f}", file=sys.stderr, flush=True)
    print(markdown(runs))
    if options.write_docs:
        DOCS.write_text(replace_block(DOCS.read_text(), "worlds", markdown(runs)))


if __name__ == "__main__":
    main()
