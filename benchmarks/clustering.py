"""Pseudo labels from features: the sparse Jaccard graph and DBSCAN against the dense N x N way, in one run.

    python benchmarks/clustering.py [--sizes 5000 12936] [--dims 2048] [--regime separated] [--json FILE]

Every measurement is made in a process of its own, on the same features and neighbour lists; rounds of all contenders
are interleaved. Memory is resident memory above features and lists. The neighbour search is timed next to the plain
matrix product that it contains. Ratios, not seconds, carry over to other machines. With ``--device cuda`` the torch
back-end runs there, with the peak of CUDA memory.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import numpy as np
import torch
from dense_jaccard import dense_jaccard, dense_labels
from isolated import Meter, call
from torch import Tensor
from torch.nn.functional import normalize

from unreid.clustering import dbscan
from unreid.neighbors import jaccard_graph, knn
from unreid.neighbors.jaccard import BACKENDS
from unreid.neighbors.support import support_weights

K1, K2, EPS, MIN_SAMPLES = 30, 6, 0.6, 4
LABEL_EPS = (0.4, 0.48, 0.5, 0.52, 0.6, 0.7)
MEMBERS = 17  # samples per identity
NOISE = {"separated": 1.0, "diffuse": 1.6, "hubs": None}  # relative to the centre; None: no centres at all


def world(n: int, dim: int, regime: str) -> Tensor:
    """float32 (N, D), unit rows: identities of 17 samples in random order, or plain noise, which is rich in hubs."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, dim, generator=generator) / dim**0.5
    noise = NOISE[regime]
    if noise is not None:
        centers = normalize(torch.randn(-(-n // MEMBERS), dim, generator=generator), dim=1)
        x = centers[torch.randint(len(centers), (n,), generator=generator)] + noise * x
    return normalize(x, dim=1)


def clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def search(args: argparse.Namespace) -> dict[str, Any]:
    """Features and neighbour lists, saved for the others, and the time of the plain product."""
    device = torch.device(args.device)
    x = world(args.sizes[0], args.dims[0], args.regime)
    np.save(args.folder / "features.npy", x.numpy())
    x = x.to(device)
    knn(x[:500], K1, backend=args.knn)
    start = clock(device)
    distance, index = knn(x, K1, backend=args.knn)
    seconds = clock(device) - start
    block = max(1, 2**24 // len(x))
    start = clock(device)
    for rows in x.split(block):
        rows @ x.T
    product = clock(device) - start
    np.save(args.folder / "distance.npy", distance.cpu().numpy())
    np.save(args.folder / "index.npy", index.cpu().numpy())
    return {"seconds": seconds, "product_seconds": product}


def load(folder: Path, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Features, distances and indices, read without a detour that would raise the process's peak memory."""
    parts = (torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("features", "distance", "index"))
    x, distance, index = (part.to(device) for part in parts)
    return x, distance, index


def dense(args: argparse.Namespace) -> dict[str, Any]:
    """The N x N way."""
    x, _, index = (part.numpy() for part in load(args.folder, torch.device("cpu")))
    dense_labels(dense_jaccard(x[:300], index[:300] % 300, K1, K2), EPS, MIN_SAMPLES)  # imports
    with Meter() as meter:
        distance = dense_jaccard(x, index, K1, K2)
        middle = time.perf_counter()
        labels = dense_labels(distance, EPS + 1e-6, MIN_SAMPLES)
        stages = {"dbscan": time.perf_counter() - middle}
    i, j = np.nonzero(np.triu(distance <= max(LABEL_EPS) + 1e-6, 1))
    every = {f"labels_{eps}": dense_labels(distance, eps + 1e-6, MIN_SAMPLES) for eps in LABEL_EPS}
    np.savez(args.folder / "dense.npz", i=i, j=j, dist=distance[i, j], labels=labels, **every)
    return {"seconds": meter.seconds, "cpu_seconds": meter.cpu_seconds, "peak_mb": meter.peak_mb, "stages": stages}


def sparse(args: argparse.Namespace) -> dict[str, Any]:
    """Graph and labels by one back-end: the stage as a user calls it, then its parts, then results to compare."""
    device = torch.device(args.device if args.child == "torch" else "cpu")
    x, *lists = load(args.folder, device)
    neighbors = lists[0], lists[1]
    settings = {"k1": K1, "k2": K2, "backend": args.child}
    small = 2 * K1  # imports, thread pools, compilation
    dbscan(jaccard_graph(x[:small], radius=EPS, **settings), EPS)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    with Meter() as meter:
        start = clock(device)
        graph = jaccard_graph(x, radius=EPS, neighbors=neighbors, **settings)
        middle = clock(device)
        labels, _ = dbscan(graph, EPS, MIN_SAMPLES)
        end = clock(device)
    row = {"seconds": end - start, "cpu_seconds": meter.cpu_seconds, "peak_mb": meter.peak_mb}
    if device.type == "cuda":
        row["peak_mb"] = (torch.cuda.max_memory_allocated(device) - before) / 2**20
    stages, counts = parts_of_the_stage(x, neighbors, args.child, device)
    wide = jaccard_graph(x, radius=max(LABEL_EPS), neighbors=neighbors, **settings)
    every = {f"labels_{eps}": dbscan(wide, eps, MIN_SAMPLES)[0].cpu().numpy() for eps in LABEL_EPS}
    pairs = {key: getattr(wide, key).cpu().numpy() for key in ("i", "j", "dist")}
    np.savez(args.folder / f"{args.child}.npz", labels=labels.cpu().numpy(), **pairs, **every)
    return {**row, "stages": stages | {"dbscan": end - middle}, "pairs": len(graph) / len(x), **counts}


def parts_of_the_stage(
    x: Tensor, neighbors: tuple[Tensor, Tensor], name: str, device: torch.device
) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of each step, and the sizes per sample that they depend on."""
    backend = BACKENDS[name]
    times = [clock(device)]
    rows = support_weights(x, *neighbors, round(K1 / 2) + 1)
    times.append(clock(device))
    mean = backend.mean_rows(rows, neighbors[1][:, :K2])
    times.append(clock(device))
    backend.pair_distances(mean, EPS + 1e-6)
    times.append(clock(device))
    stages = {key: end - begin for key, begin, end in zip(("support", "mean", "min-sum"), times, times[1:])}
    column = torch.bincount(mean.column, minlength=len(x))
    counts = {
        "entries": len(rows.value) / len(x),
        "entries_after_mean": len(mean.value) / len(x),
        "adds": float((column * (column - 1) / 2).sum() / len(x)),
        "longest_column": int(column.max()),
    }
    return stages, counts


def compare(first: Path, second: Path) -> dict[str, Any]:
    """Pairs in one result only, largest difference of the others, and the eps at which labels differ."""
    with np.load(first) as a, np.load(second) as b:
        n = len(a["labels"])
        keys = [result["i"].astype(np.int64) * n + result["j"] for result in (a, b)]
        _, left, right = np.intersect1d(*keys, assume_unique=True, return_indices=True)
        difference = float(np.abs(a["dist"][left] - b["dist"][right]).max(initial=0))
        differing = [eps for eps in LABEL_EPS if not np.array_equal(a[f"labels_{eps}"], b[f"labels_{eps}"])]
    return {
        "unshared_pairs": len(keys[0]) + len(keys[1]) - 2 * len(left),
        "largest_difference": difference,
        "eps_with_other_labels": differing,
    }


def measure(args: argparse.Namespace, n: int, dim: int, folder: Path) -> dict[str, Any]:
    """One size: search once, contenders in interleaved rounds, results compared."""
    common = ["--sizes", n, "--dims", dim, "--regime", args.regime, "--device", args.device]
    common += ["--threads", args.threads, "--knn", args.knn, "--folder", folder]
    row: dict[str, Any] = {"n": n, "dim": dim, "regime": args.regime}
    row["knn"] = call(__file__, ["--child", "knn", *common])
    contenders = [*args.backends, *(["dense"] if n <= args.dense_up_to else [])]
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for repeat in range(args.repeats):
        for name in contenders:
            if name != "dense" or repeat == 0:
                results[name].append(call(__file__, ["--child", name, *common]))
    for name, runs in results.items():
        best = min(runs, key=lambda run: run["seconds"])
        median = statistics.median(run["seconds"] for run in runs)
        row[name] = best | {"median_seconds": median, "peak_mb": max(run["peak_mb"] for run in runs)}
        if name != contenders[0]:
            row[name] |= compare(folder / f"{contenders[0]}.npz", folder / f"{name}.npz")
    return row


def show(row: dict[str, Any]) -> None:
    search_time = row["knn"]
    share = search_time["seconds"] / search_time["product_seconds"]
    print(f"\nN {row['n']}, D {row['dim']}, {row['regime']}")
    print(f"  neighbours {search_time['seconds']:8.2f} s, {share:.2f} x the plain matrix product")
    for name in (key for key in ("dense", "scipy", "torch") if key in row):
        part = row[name]
        line = f"  {name:10} {part['seconds']:8.3f} s {part['cpu_seconds']:8.3f} cpu s {part['peak_mb']:7.0f} MiB"
        if "dense" in row and name != "dense":
            line += f" {row['dense']['cpu_seconds'] / part['cpu_seconds']:6.1f} x in cpu time"
        whole = search_time["seconds"] + part["seconds"]
        line += f"  (neighbours {100 * search_time['seconds'] / whole:.0f} % of the stage)"
        print(line + "  " + ", ".join(f"{key} {value:.3f}" for key, value in part["stages"].items()))
        if "eps_with_other_labels" in part:
            print(
                f"{'':13}{part['unshared_pairs']} pairs not shared, distances differ by at most "
                f"{part['largest_difference']:.1e}, other labels at eps {part['eps_with_other_labels'] or 'none'}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[5000, 12936])
    parser.add_argument("--dims", type=int, nargs="+", default=[2048])
    parser.add_argument("--regime", choices=NOISE, default="separated")
    parser.add_argument("--backends", nargs="+", choices=["scipy", "torch"], default=["scipy", "torch"])
    parser.add_argument("--knn", default="torch", help="neighbour search")
    parser.add_argument("--dense-up-to", type=int, default=12936, help="largest N of the dense version")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; the dense version runs once")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, default=None, help="also write the numbers here")
    parser.add_argument("--child", default=None, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.child:
        print(json.dumps({"knn": search, "dense": dense}.get(args.child, sparse)(args)))
        return
    if args.device != "cpu":
        args.backends = ["torch"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for dim in args.dims:
            for n in args.sizes:
                rows.append(measure(args, n, dim, Path(folder)))
                show(rows[-1])
    if args.json:
        command = {key: str(value) for key, value in vars(args).items() if key not in ("json", "child", "folder")}
        versions = {"torch": torch.__version__, "numpy": np.__version__, "cpu": platform.processor()}
        args.json.write_text(json.dumps({"command": command, "versions": versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
