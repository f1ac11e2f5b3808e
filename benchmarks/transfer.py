"""From one rendered world to another: source only, fine-tuning without labels, domain adaptation.

    python benchmarks/transfer.py [--seeds 1 2 3] [--methods ...] [--write-docs] [--set KEY VALUE ...]

World A (``SyntheticSource``) has labels, world B (``Synthetic``) none; all scores are on the test images of B, after
the last epoch. The source network is trained by the plug-in ``benchmarks/supervised.py``; fine-tuning starts from it by
``MODEL.INIT_PATH``. Runs are processes of their own with one thread, one at a time.

Results go to ``--out`` as JSON (seeds measured before are kept) and to the screen as a table; ``--write-docs`` puts the
table into ``docs/transfer.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.isolated import Meter, call  # noqa: E402
from benchmarks.methods import QUIET, machine, spread, write_docs  # noqa: E402
from benchmarks.real import rounds  # noqa: E402

DOCS = ROOT / "docs" / "transfer.md"
SUPERVISED = [
    *("PLUGINS", str(ROOT / "benchmarks" / "supervised.py"), "METHOD.NAME", "Supervised"),
    *("DATASETS.NAMES", "SyntheticSource", "DATASETS.TESTS", "Synthetic", "WARMUP.EPOCHS", "0", "OPTIM.EPOCHS", "20"),
]
SOURCE, REESTIMATED = "source only", "source only, BN statistics of the target"
TUNED, UDA, ALONE = "fine-tuned without labels", "SpCL_UDA", "Cluster Contrast, no source"
RUNS: dict[str, tuple[str, list[str]]] = {
    SOURCE: ("ClusterContrast_synthetic", SUPERVISED),
    TUNED: ("transfer_synthetic", []),
    UDA: ("SpCL_UDA_synthetic", []),
    ALONE: ("ClusterContrast_synthetic", []),
}
ROWS = (SOURCE, REESTIMATED, TUNED, UDA, ALONE)


@dataclass(frozen=True)
class Result:
    """Scores of one row and seed on world B, in percent; times are those of its run.

    ``precision`` and ``recall``: pairs of images that the last labels of B join, those that are right and those found.
    None where the row has no labels of B.
    """

    row: str
    seed: int
    mAP: float
    R1: float
    wall: float
    cpu: float
    precision: float | None = None
    recall: float | None = None


def work(name: str, seed: int, start: str, folder: str, extra: Sequence[str]) -> dict[str, Any]:
    """One run; in a process of its own. ``start``: checkpoint to begin with, or ""."""
    import torch

    from unreid.config import load_config
    from unreid.engine.run import run

    torch.set_num_threads(1)
    config, overrides = RUNS[name]
    places = ["SEED", str(seed), "OUTPUT_DIR", folder, *(("MODEL.INIT_PATH", start) if start else ())]
    cfg = load_config(ROOT / "configs" / f"{config}.yml", [*QUIET, *overrides, *extra, *places])
    with Meter() as meter:
        results = run(cfg)
    scores = {when: results[when]["Synthetic"] for when in ("initial", "last")}
    labels = rounds(Path(folder) / "metrics.jsonl")[-1] if name != SOURCE else {}
    return {
        "scores": scores,
        "wall": meter.seconds,
        "cpu": meter.cpu_seconds,
        "checkpoint": results["checkpoint"],
        "labels": [labels.get("pair_precision"), labels.get("pair_recall")],
    }


def measure(seed: int, names: Sequence[str], extra: Sequence[str]) -> list[Result]:
    """All rows of a seed."""
    found: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        source = ""
        for number, name in enumerate(names):
            start = source if name == TUNED else ""
            arguments = ["--worker", name, seed, start, f"{folder}/{number}"]
            answer = call(__file__, [*arguments, *(["--set", *extra] if extra else [])])
            rows = {name: "last"} | ({REESTIMATED: "initial"} if name == TUNED else {})
            for row, when in rows.items():
                score = answer["scores"][when]
                labels = answer["labels"] if when == "last" else []
                found.append(Result(row, seed, score["mAP"], score["R1"], answer["wall"], answer["cpu"], *labels))
                print(f"{row}, seed {seed}: mAP {score['mAP']:.1f}, {answer['cpu']:.0f} CPU s", file=sys.stderr)
            if name == SOURCE:
                source = answer["checkpoint"]
    return found


def markdown(results: Sequence[Result]) -> str:
    """The table: a row a way, mean and standard deviation over the seeds."""
    lines = [
        "| on world B | mAP | R1 | against source only | pair precision, recall of the last labels | CPU s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    base = {result.seed: result.mAP for result in results if result.row == SOURCE}
    for row in ROWS:
        mine = [result for result in results if result.row == row]
        if mine:
            cpu = "" if row == REESTIMATED else f"{sum(r.cpu for r in mine) / len(mine):.0f}"
            gains = [r.mAP - base[r.seed] for r in mine if r.seed in base]
            gain = spread(gains, signed=True) if gains and row != SOURCE else ""
            pairs = [(r.precision, r.recall) for r in mine if r.precision is not None and r.recall is not None]
            labels = ", ".join(spread([100 * value for value in side]) for side in zip(*pairs))
            cells = [row, spread([r.mAP for r in mine]), spread([r.R1 for r in mine]), gain, labels, cpu]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--methods", nargs="+", default=list(RUNS), choices=list(RUNS), help="default: all")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "transfer.json")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/transfer.md")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY VALUE", help="config keys for every run")
    parser.add_argument("--worker", nargs=4, default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        name, seed, start, folder = args.worker
        print("\n" + json.dumps(work(name, int(seed), start, folder, args.set)))
        return
    if TUNED in args.methods and SOURCE not in args.methods:
        parser.error(f"{TUNED!r} starts from {SOURCE!r}: name both")
    os.environ["OMP_NUM_THREADS"] = "1"  # inherited by the workers
    known: dict[tuple[str, int], Result] = {}
    if args.out.exists():
        known = {(run["row"], run["seed"]): Result(**run) for run in json.loads(args.out.read_text())["runs"]}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        known |= {(result.row, seed): result for result in measure(seed, args.methods, args.set)}
        runs = sorted(known.values(), key=lambda result: (ROWS.index(result.row), result.seed))
        content = {"machine": machine(), "settings": args.set, "runs": [asdict(result) for result in runs]}
        args.out.write_text(json.dumps(content, indent=2) + "\n")
    text = markdown(runs)
    print(text)
    if args.write_docs:
        made_by = "`python benchmarks/transfer.py`. World A has labels, world B none; one thread, one run at a time."
        write_docs(DOCS, "transfer", text, sorted({result.seed for result in runs}), made_by)


if __name__ == "__main__":
    main()
