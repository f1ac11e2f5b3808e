"""AuxUSL's parts one after the other on the rendered tracklets, as in the paper's ablation.

    python benchmarks/auxusl_ablation.py [--seeds 1 2 3] [--jobs 2] [--write-docs] [--set KEY VALUE ...]

Every row adds one part to the row above; a seed decides the initial weights and everything that is drawn, so rows of
one seed are compared in pairs. The cannot-links (TOC) are mined from the tracklets, the walking times (STS) for every
seed from the pseudo labels of its "+ SCP" run, as a user would. A row with modules is scored twice: on plain distances,
and with the same modules at test. The last row without modules is also scored with all three at test only.

Results go to ``--out`` as JSON and to the screen as a table; ``--write-docs`` puts the table into
``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.isolated import Meter, call  # noqa: E402
from benchmarks.methods import DOCS, QUIET, machine, spread, write_docs  # noqa: E402

CONFIG = ROOT / "configs" / "AuxUSL_synthetic_video.yml"
DATASET = "SyntheticVideo"
PLAIN = [  # the baseline: cross-entropy, soft-margin triplets, about as many steps as the dynamic rule takes
    *("MODEL.LOSSES.ID_OPTION", "1", "MODEL.LOSSES.TRI_OPTION", "1"),
    *("DATALOADER.ITERS", "50", "DATALOADER.ITERS_CLUSTER_MULTIPLIER", "-1"),
]
UNAIDED = "+ dynamic iterations"  # the last row without modules
SCP, STS, TOC = "+ SCP", "+ STS", "+ TOC"
ROWS: dict[str, list[str]] = {
    "baseline (CE, TL)": [],
    "+ RLSCE": ["MODEL.LOSSES.ID_OPTION", "3"],
    "+ WATL": ["MODEL.LOSSES.TRI_OPTION", "2"],
    UNAIDED: ["DATALOADER.ITERS_CLUSTER_MULTIPLIER", "0.6"],
    SCP: ["CLUSTER.CCE_OPTION", "True"],
    STS: ["CLUSTER.STR_OPTION", "True"],
    TOC: ["CLUSTER.ICDBSCAN_OPTION", "True", "CLUSTER.ICDBSCAN_RELAXED", "-1.0"],
}
AT_TEST: dict[str, list[str]] = {
    SCP: ["TEST.CCE_OPTION", "True"],
    STS: ["TEST.STR_OPTION", "True"],
    TOC: ["TEST.OVERLAP_CONSTRAINT", "True"],
}
MIN_COUNT = 8  # walks that make a camera pair known: a small world has few


@dataclass(frozen=True)
class Result:
    """One run: scores in percent of the last epoch; with the row's modules at test where it has any.

    ``precision`` and ``recall`` are those of the last labelling: pairs of a cluster that are one person, and pairs of
    one person over two cameras that are in a cluster.
    """

    row: str
    seed: int
    untrained: float
    mAP: float
    R1: float
    mAP_modules: float | None
    R1_modules: float | None
    precision: float
    recall: float
    cpu: float


def work(seed: int, rows: Sequence[str], extra: Sequence[str]) -> list[Result]:
    """All rows of one seed, one after the other; runs in a process of its own."""
    import torch

    torch.set_num_threads(1)
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        train: list[str] = list(PLAIN)
        test: list[str] = []
        pseudo = unaided = ""
        for number, row in enumerate(ROWS):
            train, test = train + ROWS[row], test + AT_TEST.get(row, [])
            if row not in rows:
                continue
            common = [*QUIET, *train, "PICKLE_PATH", f"{folder}/pickles", *extra, "SEED", str(seed)]
            output = f"{folder}/{number}"
            if row in AT_TEST:
                _mine(common, pseudo)
            results.append(_run(row, seed, common, test, output))
            print(f"{row}, seed {seed}: mAP {results[-1].mAP:.1f}", file=sys.stderr)
            if row == SCP:
                pseudo = f"{output}/pseudo_labels.npz"
            if row == UNAIDED:
                unaided = f"{output}/checkpoint.pth"
        if unaided and TOC in rows:
            place = next(k for k, result in enumerate(results) if result.row == UNAIDED)
            scores = _score(unaided, [*common, *test, "OUTPUT_DIR", f"{folder}/unaided"])
            results[place] = replace(results[place], mAP_modules=scores["mAP"], R1_modules=scores["R1"])
    return results


def _mine(common: Sequence[str], pseudo: str) -> None:
    from unreid.config import load_config
    from unreid.engine.mining.miner import mine
    from unreid.engine.mining.options import Mining

    mine(load_config(CONFIG, common), Mining(sts_from=pseudo, min_count=MIN_COUNT))


def _run(row: str, seed: int, common: Sequence[str], test: Sequence[str], output: str) -> Result:
    """Trains, scores on plain distances, and again with the modules at test."""
    from unreid.config import load_config
    from unreid.engine.run import run

    with Meter() as meter:
        results = run(load_config(CONFIG, [*common, "OUTPUT_DIR", output]))
    last = results["last"][DATASET]
    modules: dict[str, Any] = {}
    if test:
        modules = _score(results["checkpoint"], [*common, *test, "OUTPUT_DIR", f"{output}_test"])
    labels = _last_labels(Path(output) / "metrics.jsonl")
    return Result(
        row,
        seed,
        results["initial"][DATASET]["mAP"],
        last["mAP"],
        last["R1"],
        modules.get("mAP"),
        modules.get("R1"),
        100 * labels["cluster/pair_precision"],
        100 * labels["cluster/cross_camera_recall"],
        meter.cpu_seconds,
    )


def _score(checkpoint: str, overrides: Sequence[str]) -> dict[str, float]:
    from unreid.config import load_config
    from unreid.engine.run import run

    return run(load_config(CONFIG, [*overrides, "RESUME", checkpoint, "TEST.EVAL_ONLY", "True"]))[DATASET]


def _last_labels(metrics: Path) -> dict[str, float]:
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    return [row for row in rows if "cluster/pair_precision" in row][-1]


def run_all(seeds: Sequence[int], rows: Sequence[str], jobs: int, extra: Sequence[str]) -> list[Result]:
    """``jobs`` seeds at a time."""
    os.environ["OMP_NUM_THREADS"] = "1"  # inherited by the workers
    _render_once(extra)

    def one(seed: int) -> list[Result]:
        tail = ["--set", *extra] if extra else []
        answer = call(__file__, ["--worker", seed, "--rows", *rows, *tail])
        return [Result(**result) for result in answer["runs"]]

    with ThreadPoolExecutor(jobs) as pool:
        return [result for results in pool.map(one, seeds) for result in results]


def _render_once(extra: Sequence[str]) -> None:
    from unreid.config import load_config
    from unreid.data.datasets import build_dataset

    build_dataset(DATASET, load_config(CONFIG, [*QUIET, *extra]))


def markdown(results: Sequence[Result], rows: Sequence[str]) -> str:
    """The table; differences are taken seed by seed against the row above."""
    runs = {row: {result.seed: result for result in results if result.row == row} for row in rows}
    lines = [
        "| | mAP | R1 | mAP against the row above | with the modules at test: mAP | R1 | pair precision "
        "| cross-camera recall | CPU s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    above: dict[int, Result] = {}
    for row in rows:
        mine = runs[row]
        paired = [result.mAP - above[seed].mAP for seed, result in mine.items() if seed in above]
        with_modules = [result for result in mine.values() if result.mAP_modules is not None]
        cells = [
            row,
            spread([result.mAP for result in mine.values()]),
            spread([result.R1 for result in mine.values()]),
            spread(paired, signed=True) if paired else "",
            spread([result.mAP_modules for result in with_modules]) if with_modules else "",  # type: ignore[misc]
            spread([result.R1_modules for result in with_modules]) if with_modules else "",  # type: ignore[misc]
            spread([result.precision for result in mine.values()]),
            spread([result.recall for result in mine.values()]),
            f"{statistics.fmean(result.cpu for result in mine.values()):.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
        above = mine
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--rows", nargs="+", default=list(ROWS), help="rows of the table; each keeps what it adds to")
    parser.add_argument("--jobs", type=int, default=2, help="seeds at a time")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "auxusl_ablation.json")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY VALUE", help="config keys for every run")
    parser.add_argument("--worker", type=int, default=None, metavar="SEED", help=argparse.SUPPRESS)
    args = parser.parse_args()
    unknown = [row for row in args.rows if row not in ROWS]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(ROWS)}")
    if {STS, TOC} & set(args.rows) and SCP not in args.rows:
        parser.error(f"'{STS}' and '{TOC}' need '{SCP}': the walking times are learnt from its pseudo labels")
    if args.worker is not None:
        runs = [asdict(result) for result in work(args.worker, args.rows, args.set)]
        print("\n" + json.dumps({"runs": runs}))
        return
    results = run_all(args.seeds, args.rows, args.jobs, args.set)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine(), "settings": args.set, "runs": [asdict(result) for result in results]}
    args.out.write_text(json.dumps(content, indent=2) + "\n")
    rows = [row for row in ROWS if row in args.rows]
    table = markdown(results, rows)
    print(table)
    if args.write_docs:
        made_by = "`python benchmarks/auxusl_ablation.py`. All rows of a seed start from the same weights."
        write_docs(DOCS, "auxusl-ablation", table, args.seeds, made_by)


if __name__ == "__main__":
    main()
