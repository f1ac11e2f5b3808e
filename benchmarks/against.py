"""What the published ways cost beside ours, part by part, in one run and one table.

    python benchmarks/against.py [--parts labels merge] [--scale 1.0] [--write-docs] [--json FILE]

Every published way is written as plainly as it was published (dense matrices, loops over samples, clusters or queries,
one JPEG at a time). Both ways get the same inputs at two sizes, each way in a process of its own, with one thread. Time
is processor time, memory the peak above the inputs; growth is the exponent from the smaller size to the larger. The
sizes are below the real ones, because the dense ways are felt there: ``--scale`` multiplies them.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import math
import os
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import checkout  # noqa: F401
import numpy as np
import torch
from buc_merge import textbook as textbook_merge
from buc_merge import world as merge_world
from dense_jaccard import dense_jaccard, dense_labels
from evaluation import features as test_features
from evaluation import loop_cmc_map
from hdc import MEMBERS
from hdc import dense as dense_hdc
from hdc import world as hdc_world
from isolated import Meter, call
from loader import ours as our_loader
from loader import reference as reference_loader
from loader import write_images
from methods import DOCS, replace_block
from reference_epoch import update_row_by_row
from torch.nn.functional import normalize

from unreid.clustering import dbscan, hdc
from unreid.clustering.bottom_up import BottomUpPartition
from unreid.data.samplers import MultiCameraSampler
from unreid.evaluation.distance import pairwise_distance
from unreid.evaluation.metrics import cmc_map
from unreid.memory import ClusterMemory
from unreid.neighbors import jaccard_graph, knn

Work = Callable[[], Any]
DIM = 2048
K1, K2, EPS = 30, 6, 0.6
ITERATIONS = 3  # of HDC, from the same start
BATCHES = 4  # of the loaders
REPEATS = 3  # the least time counts


def labels(size: int, ours: bool) -> Work:
    """Jaccard distance and DBSCAN of ``size`` samples whose neighbour lists are given."""
    x = merge_world(size, DIM, torch.device("cpu"))
    distance, index = knn(x, K1)
    rows, lists = x.numpy(), index.numpy()
    if ours:
        return lambda: dbscan(jaccard_graph(x, k1=K1, k2=K2, radius=EPS, neighbors=(distance, index)), EPS)
    return lambda: dense_labels(dense_jaccard(rows, lists, K1, K2), EPS, 4)


def update(size: int, ours: bool) -> Work:
    """The cluster memory's update with a batch of ``size``, 16 of a cluster."""
    generator = torch.Generator().manual_seed(0)
    rows = normalize(torch.randn(size, DIM, generator=generator), dim=1)
    targets = torch.randperm(750, generator=generator)[: -(-size // 16)].repeat_interleave(16)[:size]
    bank = normalize(torch.randn(750, DIM, generator=generator), dim=1)
    if not ours:
        return lambda: update_row_by_row(bank, rows, targets)
    memory = ClusterMemory(DIM, momentum=0.1, update="all")
    memory.bank = bank
    return lambda: memory.update(rows, targets, num_instances=16)


def loader(size: int, ours: bool) -> Work:
    """Some training batches of ``size`` images of 256 x 128 from JPEG files; ours decodes them once a run."""
    args = SimpleNamespace(size=(256, 128), batch=size, device="cpu")
    folder = tempfile.TemporaryDirectory()
    paths = write_images(Path(folder.name), 4 * size)
    batches = our_loader(paths, args, 0, "auto") if ours else reference_loader(paths, args, 0)
    for _ in range(5):  # a pass and more: the files have been read
        next(batches)

    def work(kept: Any = folder) -> None:
        for _ in range(BATCHES):
            next(batches)

    return work


def sampler(size: int, ours: bool) -> Work:
    """A pass over ``size`` clusters of 17 samples in 6 cameras, 4 instances each."""
    rng = np.random.default_rng(0)
    owner, cameras = np.repeat(np.arange(size), 17), rng.integers(0, 6, 17 * size)
    if ours:
        return lambda: MultiCameraSampler(owner, cameras, 4).one_pass(np.random.default_rng(1))
    return lambda: published_pass(owner.tolist(), cameras.tolist(), 4)


def published_pass(owner: list[int], cameras: list[int], instances: int) -> list[int]:
    """Cluster by cluster: an anchor, then samples of other cameras, else of the same."""
    members, places = defaultdict(list), defaultdict(list)
    for index, (pid, camera) in enumerate(zip(owner, cameras)):
        members[pid].append(index)
        places[pid].append(camera)
    found = []
    for pid in torch.randperm(len(members)).tolist():
        anchor = random.choice(members[pid])
        found.append(anchor)
        others = [place for place, camera in enumerate(places[pid]) if camera != cameras[anchor]]
        others = others or [place for place, index in enumerate(members[pid]) if index != anchor]
        chosen = np.random.choice(others, size=instances - 1, replace=len(others) < instances)
        found += [members[pid][place] for place in chosen]
    return found


def scores(size: int, ours: bool) -> Work:
    """CMC and mAP of ``size`` queries against six times as many images, distances given."""
    query, gallery, ids = test_features(size, 6 * size)
    distance = pairwise_distance(query, gallery)
    table = distance.numpy()
    return (lambda: cmc_map(distance, *ids).as_dict()) if ours else (lambda: loop_cmc_map(table, ids))


def harmonic(size: int, ours: bool) -> Work:
    """Some iterations of HDC on ``size`` samples from the same start."""
    x, distance = hdc_world(size, DIM, torch.device("cpu"))
    start = hdc.initial_state(x, distance, size // MEMBERS, rng=np.random.default_rng(0))
    options = hdc.HDCOptions(max_iter=ITERATIONS)
    if ours:
        return lambda: hdc.fit(x, distance, *start, options)
    return lambda: dense_hdc(x, distance, start[0], start[1].clone(), ITERATIONS)


def merge(size: int, ours: bool) -> Work:
    """One merge of BUC, 5 % of ``size`` samples."""
    x = merge_world(size, DIM, torch.device("cpu"))
    partition = BottomUpPartition(size)
    partition.labels = torch.arange(size)
    first = partition.labels.numpy()

    def work() -> None:
        partition.labels = torch.arange(size)
        partition.merge(x)

    return work if ours else (lambda: textbook_merge(x, first, partition.merges, 0.003))


PARTS: dict[str, tuple[Callable[[int, bool], Work], str, tuple[int, int]]] = {
    "labels": (labels, "Jaccard and DBSCAN, N samples", (1500, 3000)),
    "update": (update, "memory update, batches of N", (128, 256)),
    "loader": (loader, f"{BATCHES} training batches of N images", (32, 64)),
    "sampler": (sampler, "a sampler's pass, N clusters", (750, 1500)),
    "scores": (scores, "CMC and mAP, N queries, 6 N images", (500, 1000)),
    "harmonic": (harmonic, f"HDC, {ITERATIONS} iterations, N samples", (1500, 3000)),
    "merge": (merge, "BUC, one merge, N samples", (1500, 3000)),
}


def child(part: str, ours: bool, sizes: list[int]) -> list[dict[str, float]]:
    """Processor seconds and peak MiB at every size."""
    PARTS[part][0](max(8, sizes[0] // 10), ours)()  # imports
    rows = []
    for size in sizes:
        work = PARTS[part][0](size, ours)
        found: list[Meter] = []
        while len(found) < REPEATS and sum(meter.cpu_seconds for meter in found) < 5:
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)  # what earlier parts left would hide what this one takes (Linux)
            with Meter() as meter:
                work()
            found.append(meter)
        rows.append({"seconds": min(one.cpu_seconds for one in found), "peak_mb": max(one.peak_mb for one in found)})
        print(f"{part} {size}: {duration(rows[-1]['seconds'])}", file=sys.stderr, flush=True)
    return rows


def sizes_of(part: str, scale: float) -> list[int]:
    return [max(16, round(scale * size)) for size in PARTS[part][2]]


def growth(rows: list[dict[str, float]], sizes: list[int]) -> float:
    """Exponent of the time from the first size to the last."""
    return math.log(rows[-1]["seconds"] / rows[0]["seconds"]) / math.log(sizes[-1] / sizes[0])


def markdown(results: dict[str, dict[str, Any]]) -> str:
    lines = [
        "| | N | published | ours | ratio | growth, published / ours |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for part, row in results.items():
        last = [row[way][-1] for way in ("published", "ours")]
        cells = [f"{duration(one['seconds'])}, {one['peak_mb']:.0f} MiB" for one in last]
        exponents = " / ".join(f"N^{growth(row[way], row['sizes']):.1f}" for way in ("published", "ours"))
        ratio = last[0]["seconds"] / last[1]["seconds"]
        sizes = " and ".join(f"{size:,}" for size in row["sizes"])
        lines.append(f"| {PARTS[part][1]} | {sizes} | {' | '.join(cells)} | {ratio:.1f}x | {exponents} |")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    return f"{1e3 * seconds:.1f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--scale", type=float, default=1.0, help="factor of all sizes")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("--json", type=Path, default=None, help="also write the numbers here")
    parser.add_argument("--child", choices=["published", "ours"], default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        torch.set_num_threads(1)
        found = {part: child(part, args.child == "ours", sizes_of(part, args.scale)) for part in args.parts}
        print("\n" + json.dumps(found))
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # inherited by the processes
    common = ["--parts", *args.parts, "--scale", args.scale]
    ways = {way: call(__file__, ["--child", way, *common]) for way in ("published", "ours")}
    results: dict[str, dict[str, Any]] = {
        part: {"sizes": sizes_of(part, args.scale), **{way: found[part] for way, found in ways.items()}}
        for part in args.parts
    }
    print(markdown(results))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    if args.write_docs:
        DOCS.write_text(replace_block(DOCS.read_text(), "against", markdown(results)))


if __name__ == "__main__":
    main()
