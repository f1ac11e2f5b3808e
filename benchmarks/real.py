"""The benchmark on photographs: CUHK01 and camera pair 1 of CUHK03, which are never part of this repository.

    make bench-real ROOT=/path
    python benchmarks/real.py ROOT [--sets cuhk03p1] [--starts OSNet lite0] [--methods O2CAP ...] [--seeds 1 2 3]
    python benchmarks/real.py ROOT --write-docs        # only the tables of docs/benchmarks.md, from the rows there are

ROOT holds ``cuhk01/`` and ``cuhk03p1/`` with ``train``, ``query`` and ``gallery`` (names ``PPPP_cC_K.ext``), ImageNet
weights of EfficientNet-lite0 under timm's names (``efficientnet_lite0.pth``), and OSNet x0.25 trained on MSMT17
(``osnet_x0_25_msmt17.onnx``); a set or a start whose files are missing is left out. Photographs show people and are for
research: nothing but numbers leaves ROOT.

Rows run one at a time (on a GPU four), each in a process of its own, and are kept in ``ROOT/out/rows.json`` as soon as
they are finished; the same command goes on where it was stopped. ``--again`` forgets rows of the names given.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.isolated import call
from benchmarks.methods import machine
from benchmarks.real_rows import CPU, DEFAULT, FILES, GPU, HISTOGRAM, METHODS, RAW, SETS, Plan, Row, rows
from benchmarks.real_tables import write_docs
from unreid.utils.writing import atomic_write_text

RESULTS = Path(__file__).resolve().parent / "results" / "real.json"


def work(row: Row, root: Path, device: str, plan: Plan) -> dict[str, Any]:
    """One row, in the worker."""
    import torch

    if device == "cpu":
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    output = root / "out" / "runs" / row.key.replace("/", "-").replace(" ", "_")
    output.mkdir(parents=True, exist_ok=True)
    start, cpu = time.perf_counter(), time.process_time()
    if row.name in (RAW, HISTOGRAM):
        found = baseline(row, root)
    elif row.trains:
        found = training(row, root, output, device, plan)
    else:
        found = zero_shot(row, root, output, device, plan)
    found |= {"seconds": round(time.perf_counter() - start, 1), "cpu": round(time.process_time() - cpu, 1)}
    return found


def config(row: Row, root: Path, output: Path, device: str, plan: Plan, *extra: str) -> Any:
    from unreid.config import load_config

    name = METHODS[row.name].config if row.trains else "ClusterContrast"
    path = Path(__file__).resolve().parents[1] / "configs" / f"{name}_market.yml"
    return load_config(path, [*row.settings(root, str(output), device, plan), *extra])


def baseline(row: Row, root: Path) -> dict[str, Any]:
    """Features without learning."""
    from unreid.data.datasets.image_folder import ImageFolder
    from unreid.evaluation.baselines import raw_pixel_features, striped_histogram_features
    from unreid.evaluation.evaluator import Evaluator

    dataset = ImageFolder(root / row.data, camera_regex=r"_c(\d)_")
    describe = raw_pixel_features if row.name == RAW else striped_histogram_features
    query, gallery = (describe([t.paths[0] for t in split.tracklets]) for split in (dataset.query, dataset.gallery))
    scores = Evaluator(dataset.query, dataset.gallery).score(query, gallery)
    centred = Evaluator(dataset.query, dataset.gallery, camera_centered=True).score(query, gallery)
    return {"last": scores, "centred": centred}


def zero_shot(row: Row, root: Path, output: Path, device: str, plan: Plan) -> dict[str, Any]:
    """The start weights as they are."""
    import torch

    from unreid.engine.build import assemble

    cfg = config(row, root, output, device, plan)
    torch.manual_seed(cfg.SEED)  # random weights
    run = assemble(cfg, output, torch.device(device), train=False, loaded=False)
    assert run.evaluate is not None
    return {
        "last": run.evaluate(run.model)["ImageFolder"],
        "centred": centred(run.model, row, root, output, device, plan),
    }


def training(row: Row, root: Path, output: Path, device: str, plan: Plan) -> dict[str, Any]:
    """A whole run: scores before, every two rounds and after, and what the labels were worth."""
    from unreid.engine.hooks import Hook
    from unreid.engine.run import train

    kept = Hook()  # knows the trainer, and so the trained network
    results = train(config(row, root, output, device, plan), hooks=[kept])
    found = {
        "initial": results["initial"]["ImageFolder"],
        "last": results["last"]["ImageFolder"],
        "centred": centred(kept.trainer.method.encoder, row, root, output, device, plan),
        "rounds": rounds(output / "metrics.jsonl"),
    }
    return found


def centred(encoder: Any, row: Row, root: Path, output: Path, device: str, plan: Plan) -> dict[str, float]:
    """The scores of camera-centred features."""
    import torch

    from unreid.engine.build import assemble

    cfg = config(row, root, output, device, plan, "TEST.CAMERA_CENTERED", "True")
    run = assemble(cfg, output, torch.device(device), train=False, loaded=True)
    assert run.evaluate is not None
    return run.evaluate(encoder)["ImageFolder"]


def rounds(metrics: Path) -> list[dict[str, float]]:
    """Per round the labels' quality, and mAP where it was scored after the round."""
    found: list[dict[str, float]] = []
    for line in metrics.read_text().splitlines():
        scalars = json.loads(line)
        if found and "test/ImageFolder/mAP" in scalars:  # a line may hold the end of a round and the next one's labels
            found[-1]["mAP"] = round(scalars["test/ImageFolder/mAP"], 2)
        if "cluster/pair_precision" in scalars:
            names = ("clusters", "outliers", "pair_precision", "pair_recall", "cross_camera_recall")
            found.append({name: round(scalars[f"cluster/{name}"], 4) for name in names})
    return found


def complete(row: Row, root: Path) -> bool:
    """The files of a row are there."""
    return (root / row.data / "train").is_dir() and (row.start not in FILES or (root / FILES[row.start]).is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="folder of the sets and weights")
    parser.add_argument("--sets", nargs="+", default=[*SETS], choices=[*SETS])
    parser.add_argument("--starts", nargs="+", default=[*FILES], choices=[*FILES])
    parser.add_argument("--methods", nargs="*", default=DEFAULT, choices=[*METHODS], help="default: no ablations")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--device", default="auto", help="cpu, cuda; default: CUDA where there is one")
    parser.add_argument("--jobs", type=int, default=0, help="rows at a time; default: 1 on a CPU, 4 on a GPU")
    parser.add_argument("--again", action="store_true", help="run the rows asked for although they are finished")
    parser.add_argument("--write-docs", action="store_true", help="run nothing, write the tables of docs/benchmarks.md")
    parser.add_argument("--plan", action="store_true", help="run nothing, say what would be run")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    root, device = options.root.resolve(), pick_device(options.device)
    plan = CPU if device == "cpu" else GPU
    if options.worker:
        print(json.dumps(work(Row.of(options.worker), root, device, plan)))
        return
    if options.write_docs:
        write_docs(json.loads(RESULTS.read_text()))
        return
    file = root / "out" / "rows.json"
    done: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    wanted = [row for row in rows(options.sets, options.starts, options.methods, options.seeds) if complete(row, root)]
    missing = [row for row in wanted if options.again or row.key not in done]
    images = sum(plan.images(row.name) for row in missing if row.trains)
    print(f"{len(wanted)} rows, {len(missing)} to run, {images:,} training images", file=sys.stderr)
    if options.plan:
        print("\n".join(row.key for row in missing))
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    lock = threading.Lock()
    failed: list[str] = []

    def one(row: Row) -> None:
        say(row.key)
        try:
            found = call(__file__, [root, "--device", device, "--worker", row.key])
        except subprocess.CalledProcessError:  # it has said why; the other rows do not depend on it
            failed.append(row.key)
            return
        found |= {"date": f"{datetime.date.today()}", "machine": machine(), "device": device}
        with lock:
            kept = json.loads(file.read_text()) if file.is_file() else {}  # another command may have added rows
            file.parent.mkdir(exist_ok=True)
            atomic_write_text(file, json.dumps({**kept, row.key: found}, indent=1))
        last, other = found["last"], found["centred"]
        say(f"{row.key}: mAP {last['mAP']:.1f}, R1 {last['R1']:.1f}; centred {other['mAP']:.1f}")

    with ThreadPoolExecutor(options.jobs or plan.jobs) as pool:
        list(pool.map(one, missing))
    done = json.loads(file.read_text())
    atomic_write_text(RESULTS, json.dumps(done, indent=1) + "\n")
    write_docs(done)
    if failed:
        raise SystemExit(f"no result of {', '.join(failed)}")


def say(text: str) -> None:
    print(f"{datetime.datetime.now():%H:%M} {text}", file=sys.stderr, flush=True)


def pick_device(name: str) -> str:
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    main()
