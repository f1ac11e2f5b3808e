"""Every method on the rendered benchmark, from the same initial weights.

    python benchmarks/methods.py [--methods CDSM ISE] [--seeds 1 2 3] [--jobs 2] [--write-docs]
        [--set KEY VALUE ...]
    python benchmarks/methods.py --ablation          # the four rows of ISE's ablation
    python benchmarks/methods.py --cameras           # camera-aware methods and parts

Each run is a process of its own with one thread; ``--jobs`` of them work at a time. A seed decides the initial weights,
the order of the list and all that is drawn, so runs of one seed are compared in pairs; that they did start from the
same weights is checked. The score is that of the last epoch. The pairs of ``--set`` go to every run.

Results go to ``--out`` as JSON (``--append`` keeps the file's other runs) and to the screen as a table;
``--write-docs`` puts the table into ``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.isolated import Meter, call  # noqa: E402

DOCS = ROOT / "docs" / "benchmarks.md"
SAME_START = (
    "One thread a run, two runs at a time. All runs of a seed start from the same weights; the untrained scores "
    "differ where a method resizes its test images (3C) or retrieves with another feature (BUC)."
)
INTRO = "# Benchmarks\n\nMachine: {machine}.\n"


@dataclass(frozen=True)
class Entry:
    """A row of the table: a config of ``configs/`` and what it changes."""

    config: str
    overrides: tuple[str, ...] = ()


def _ablation(in_memory: bool, weight: float) -> Entry:
    return Entry("ISE", ("METHOD.ISE.SUPPORT_IN_MEMORY", str(in_memory), "METHOD.ISE.LP.WEIGHT", str(weight)))


METHODS = {
    name: Entry(name)
    for name in ("ClusterContrast", "SpCL", "CDSM", "ISE", "CCC_HDC", "CCC_DBSCAN", "CCC_KMeans", "BUC")
}
ABLATION = {
    "baseline": _ablation(False, 0.0),
    "+ PLI": _ablation(True, 0.0),
    "+ LP": _ablation(False, 0.1),
    "+ PLI + LP": _ablation(True, 0.1),
}
CAMERAS = {
    "ClusterContrast": Entry("ClusterContrast"),
    "+ CA-Jaccard": Entry("CAJaccard"),
    "+ Infomap": Entry("ClusterContrast", ("CLUSTER.NAME", "Infomap")),
    "O2CAP": Entry("O2CAP"),
    "O2CAP + CA-Jaccard": Entry("O2CAP", ("CLUSTER.METRIC", "ca_jaccard")),
    "one by one": Entry(
        "O2CAP",
        (
            *("CLUSTER.NAME", "PerCameraDBSCAN", "CLUSTER.CAMERA_CENTERED", "True", "CLUSTER.MIN_SAMPLES", "2"),
            *("CLUSTER.K1", "6", "CLUSTER.K2", "2", "MEMORY.PROXY.ONLINE", "False", "MEMORY.PROXY.NEGATIVES", "seen"),
        ),
    ),
    "PPLR": Entry("PPLR", ("METHOD.PPLR.CAMERAS", "False")),
    "PPLR, cameras": Entry("PPLR", ("METHOD.PPLR.CAMERAS", "True")),
}
TABLES = {"methods": METHODS, "ise-ablation": ABLATION, "cameras": CAMERAS}
QUIET = [
    *("MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", "0"),
    *("TEST.EVAL_START", "True", "TEST.EVAL_PERIOD", "0", "CHECKPOINT.PERIOD", "0"),
    *("LOG.TENSORBOARD", "False", "LOG.CLUSTER_IMAGES", "0", "LOG.PROGRESS", "False"),
]


@dataclass(frozen=True)
class Result:
    """One run; scores in percent, of the untrained network and of the last epoch.

    ``weights`` hashes the backbone at the start; heads differ between methods.
    """

    method: str
    seed: int
    untrained: float
    mAP: float
    R1: float
    wall: float
    cpu: float
    weights: str


def settings(entry: Entry, seed: int, extra: Sequence[str], output: str = "logs/benchmark") -> list[str]:
    """The overrides of a run."""
    return [*QUIET, *entry.overrides, *extra, "SEED", str(seed), "OUTPUT_DIR", output]


def work(table: dict[str, Entry], name: str, seed: int, extra: Sequence[str]) -> Result:
    """Trains one method; runs in a process of its own."""
    import torch

    from unreid.config import load_config
    from unreid.engine import build
    from unreid.engine.run import run

    torch.set_num_threads(1)
    start: list[str] = []
    original = build.build_model

    def watched(*args: Any, **kwargs: Any) -> torch.nn.Module:
        model = original(*args, **kwargs)
        start.append(fingerprint(model.backbone.state_dict()))
        return model

    build.build_model = watched
    entry = table[name]
    with tempfile.TemporaryDirectory() as folder:
        cfg = load_config(ROOT / "configs" / f"{entry.config}_synthetic.yml", settings(entry, seed, extra, folder))
        with Meter() as meter:
            results = run(cfg)
    test = cfg.DATASETS.NAMES[0]
    last = results["last"][test]
    return Result(
        name,
        seed,
        results["initial"][test]["mAP"],
        last["mAP"],
        last["R1"],
        meter.seconds,
        meter.cpu_seconds,
        start[0],
    )


def fingerprint(state: dict[str, Any]) -> str:
    """Hash of all tensors of a model."""
    digest = hashlib.sha256()
    for key, value in sorted(state.items()):
        digest.update(key.encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def train_all(
    table: dict[str, Entry],
    names: Sequence[str],
    seeds: Sequence[int],
    jobs: int,
    extra: Sequence[str],
    flags: list[str],
) -> list[Result]:
    """All runs, ``jobs`` at a time, seed by seed."""
    os.environ["OMP_NUM_THREADS"] = "1"  # inherited by the workers
    _render_once(table[names[0]], extra)

    def one(task: tuple[int, str]) -> Result:
        seed, name = task
        answer = call(__file__, [*flags, "--worker", name, seed, *(["--set", *extra] if extra else [])])
        result = Result(**answer)
        print(f"{name}, seed {seed}: mAP {result.mAP:.1f}, {result.cpu:.0f} CPU s", file=sys.stderr)
        return result

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, [(seed, name) for seed in seeds for name in names]))


def _render_once(entry: Entry, extra: Sequence[str]) -> None:
    """The workers find the images; two of them must not render at once."""
    from unreid.config import load_config
    from unreid.data.datasets import build_dataset

    cfg = load_config(ROOT / "configs" / f"{entry.config}_synthetic.yml", settings(entry, 0, extra))
    for name in cfg.DATASETS.NAMES:
        build_dataset(name, cfg)


def check_starts(results: Sequence[Result]) -> None:
    """Runs of one seed must have started from the same weights; otherwise their differences mean nothing."""
    for seed in {result.seed for result in results}:
        starts = {result.weights: result.method for result in results if result.seed == seed}
        if len(starts) > 1:
            raise SystemExit(f"seed {seed}: {' and '.join(starts.values())} did not start from the same weights")


def markdown(results: Sequence[Result], names: Sequence[str]) -> str:
    """The table; differences are taken seed by seed against the first row."""
    runs = {name: {r.seed: r for r in results if r.method == name} for name in names}
    base = runs[names[0]]
    lines = [
        f"| method | untrained mAP | mAP | R1 | mAP against {names[0]} | wall s | CPU s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in names:
        mine = runs[name]
        paired = [run.mAP - base[seed].mAP for seed, run in mine.items() if seed in base]
        cells = [
            name,
            spread([run.untrained for run in mine.values()]),
            spread([run.mAP for run in mine.values()]),
            spread([run.R1 for run in mine.values()]),
            "" if name == names[0] or not paired else spread(paired, signed=True),
            f"{statistics.fmean(run.wall for run in mine.values()):.0f}",
            f"{statistics.fmean(run.cpu for run in mine.values()):.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: Sequence[float], signed: bool = False) -> str:
    """Mean and, for several values, sample standard deviation."""
    text = f"{statistics.fmean(values):{'+' if signed else ''}.1f}"
    return f"{text} ± {statistics.stdev(values):.1f}" if len(values) > 1 else text


def replace_block(text: str, name: str, content: str) -> str:
    """``text`` with ``content`` between the markers ``name:begin`` and ``name:end``, added at the end if missing."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    block = f"{begin}\n{content}\n{end}"
    if begin not in text or end not in text:
        return f"{text.rstrip()}\n\n{block}\n"
    return text[: text.index(begin)] + block + text[text.index(end) + len(end) :]


def write_docs(path: Path, name: str, table: str, seeds: Sequence[int], made_by: str) -> None:
    """Puts the table and how it was made into the page; makes the page if there is none."""
    text = path.read_text() if path.exists() else INTRO.format(machine=machine())
    how = f"Mean ± standard deviation over seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}: {made_by}"
    path.write_text(replace_block(text, name, f"{how}\n\n{table}"))


def machine() -> str:
    """Processor, cores and torch version."""
    import torch

    info = Path("/proc/cpuinfo")
    models = [line.partition(": ")[2] for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{os.cpu_count()} cores of {models[0] if models else 'unknown'}, torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=None, help="rows of the table; default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--ablation", action="store_true", help="the rows of ISE's ablation instead of the methods")
    which.add_argument("--cameras", action="store_true", help="the camera-aware methods and parts instead")
    parser.add_argument("--out", type=Path, default=None, help="JSON file; default: below benchmarks/results")
    parser.add_argument("--append", action="store_true", help="keep the runs of other methods and seeds in the file")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY VALUE", help="config keys for every run")
    parser.add_argument("--worker", nargs=2, default=None, metavar=("METHOD", "SEED"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    block = "ise-ablation" if args.ablation else "cameras" if args.cameras else "methods"
    flags = ["--ablation"] * args.ablation + ["--cameras"] * args.cameras
    table = TABLES[block]
    if args.worker:
        name, seed = args.worker
        print("\n" + json.dumps(asdict(work(table, name, int(seed), args.set))))
        return
    names = args.methods or list(table)
    unknown = [name for name in names if name not in table]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(table)}")

    out = args.out or ROOT / "benchmarks" / "results" / f"{block.replace('-', '_')}.json"
    results = train_all(table, names, args.seeds, args.jobs, args.set, flags)
    if args.append and out.exists():
        fresh = {(result.method, result.seed) for result in results}
        kept = [Result(**row) for row in json.loads(out.read_text())["runs"]]
        results += [result for result in kept if (result.method, result.seed) not in fresh]
        names = [name for name in table if any(result.method == name for result in results)]
    check_starts(results)
    out.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine(), "settings": args.set, "runs": [asdict(result) for result in results]}
    out.write_text(json.dumps(content, indent=2) + "\n")
    text = markdown(results, names)
    print(text)
    if args.write_docs:
        command = " ".join(["python benchmarks/methods.py", *flags])
        write_docs(DOCS, block, text, sorted({result.seed for result in results}), f"`{command}`. {SAME_START}")


if __name__ == "__main__":
    main()
