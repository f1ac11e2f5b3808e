"""Ways to the neighbours of many samples, on the same features: processor time, memory and recall of each.

    python benchmarks/knn_ways.py [--size 100000] [--threads 1] [--json FILE]

Exact products in float32 and bfloat16, faiss HNSW, inverted lists, inverted lists of compressed rows (IVF-PQ) whose
candidates are compared exactly afterwards, and the cells of ``torch_ivf``; every way is a process of its own. Features
are those of ``scale.py``, lists have 30 entries, recall is that of 500 rows.

The last line is for a search that stops early: no row of a cell can be among the neighbours of a query whose distance
to the cell's mean, less the cell's radius, is more than that of the last neighbour. It counts the rows that would be
left if that were known beforehand, which no search can beat.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import numpy as np
import torch
from isolated import Meter, call
from scale import K1, mapped, write_features
from torch import Tensor

from unreid.neighbors import knn
from unreid.neighbors.faiss_search import recall_of
from unreid.neighbors.rescoring import order_candidates

BLOCK = 8192
WAYS: dict[str, dict[str, int]] = {
    "torch": {},
    "torch_bf16": {},
    "faiss_hnsw": {},
    "faiss_ivf, 32 lists": {"nprobe": 32},
    "faiss_ivf, 128 lists": {"nprobe": 128},
    "IVF-PQ, 32 lists, 100 candidates": {"nprobe": 32, "candidates": 100},
    "IVF-PQ, 128 lists, 100 candidates": {"nprobe": 128, "candidates": 100},
    "IVF-PQ, 128 lists, 400 candidates": {"nprobe": 128, "candidates": 400},
    "torch_ivf": {},
}


def compressed(x: Tensor, nprobe: int, candidates: int) -> Tensor:
    """int64 (N, K1) lists: candidates by 32 bytes a row, scanned with vector instructions, then compared exactly."""
    import faiss

    n, dim = x.shape
    lists = round(4 * math.sqrt(n))
    index = faiss.IndexIVFPQFastScan(faiss.IndexFlatL2(dim), dim, lists, 64, 4)
    index.nprobe = nprobe
    sample = np.sort(np.random.default_rng(0).permutation(n)[: 64 * lists])
    index.train(x[torch.from_numpy(sample)].numpy())
    for part in x.split(BLOCK):
        index.add(part.numpy())
    found = torch.empty(n, K1, dtype=torch.int64)
    for rows in torch.arange(n).split(BLOCK):
        proposed = torch.from_numpy(index.search(x[rows].numpy(), candidates)[1])
        found[rows] = order_candidates(x, rows, proposed, K1)[1]
    return found


def measure(name: str, folder: Path) -> dict[str, float]:
    x, settings = mapped(folder), dict(WAYS[name])
    kind = name.partition(",")[0]
    knn(x[:4000].clone(), 5)  # imports
    with Meter() as meter:
        if "candidates" in settings:
            found = compressed(x, **settings)
        else:
            found = knn(x, K1, backend=kind, **settings)[1]
    sample = torch.from_numpy(np.random.default_rng(1).permutation(len(x))[:500])
    recall = recall_of(found[sample], knn(x, K1, queries=sample)[1])
    return {
        "seconds": meter.seconds,
        "cpu_seconds": meter.cpu_seconds,
        "peak_mb": meter.peak_mb,
        "recall": recall,
    }


def left_by_radius(folder: Path) -> dict[str, float]:
    """Share of all rows that cells of some 7 and of sqrt(N) / 4 rows leave to compare, mean over 500 queries."""
    from faiss import Kmeans

    x = mapped(folder)
    queries = torch.from_numpy(np.random.default_rng(1).permutation(len(x))[:500])
    last = knn(x, K1, queries=queries)[0][:, -1].clamp_min(0).sqrt()
    shares = {}
    for rows in (7, round(math.sqrt(len(x)) / 4)):
        cells = len(x) // rows
        means = Kmeans(x.shape[1], cells, niter=4, seed=0, max_points_per_centroid=20, min_points_per_centroid=1)
        means.train(x.numpy())
        own_distance, own = means.index.search(x.numpy(), 1) if cells < 5000 else approximate(means.centroids, x)
        own = torch.from_numpy(own[:, 0])
        radius = torch.zeros(cells).scatter_reduce(0, own, torch.from_numpy(own_distance[:, 0]).sqrt(), "amax")
        sizes = torch.bincount(own, minlength=cells)
        bound = torch.cdist(x[queries], torch.from_numpy(means.centroids)) - radius
        shares[f"{rows} rows a cell"] = float(((bound < last[:, None]) * sizes).sum(1).float().mean() / len(x))
    return shares


def approximate(centroids: np.ndarray, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Squared distance and number of a nearby mean; a cell is any grouping, so that the nearest need not be found."""
    import faiss

    index = faiss.IndexHNSWFlat(centroids.shape[1], 16)
    index.add(centroids)
    return index.search(x.numpy(), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--json", type=Path, default=None, help="also write the numbers here")
    parser.add_argument("--child", nargs=2, default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        torch.set_num_threads(args.threads)
        name, folder = args.child[0], Path(args.child[1])
        print(json.dumps(measure(name, folder) if name in WAYS else left_by_radius(folder)))
        return
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_features(Path(folder) / "features.npy", args.size, args.dim)
        print("| way | CPU s | MiB | recall |\n| --- | --- | --- | --- |")
        for name in args.ways:
            row = found[name] = call(__file__, ["--threads", args.threads, "--child", name, folder])
            print(f"| {name} | {row['cpu_seconds']:.1f} | {row['peak_mb']:.0f} | {row['recall']:.3f} |", flush=True)
        found["left by radius"] = call(__file__, ["--threads", args.threads, "--child", "radius", folder])
    for cells, share in found["left by radius"].items():
        print(f"early stop by radius, {cells}: {100 * share:.1f} % of all rows are left")
    if args.json:
        args.json.write_text(json.dumps({"size": args.size, "dim": args.dim, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
