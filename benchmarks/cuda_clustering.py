"""Pseudo labels on one device, stage by stage: neighbours, Jaccard graph, DBSCAN; and HDC.

    python benchmarks/cuda_clustering.py [--sizes 12936 32621] [--dim 2048] [--knn torch torch_bf16] [--json]
    python benchmarks/cuda_clustering.py --once --sizes 1000000 --dim 256 --knn torch_bf16 --hdc-sizes

Every stage is the median of some repeats after a warm-up, with the device idle at both ends; memory is the peak of
device memory above the features. ``--once`` times the first pass alone, after a small one that loads the kernels:
for sizes that take long. Targets on an H100-class GPU: under 0.5 s at 12,936, under 3 s at 32,621, HDC in seconds.
Nothing but torch is needed. Equality with the CPU is the business of the tests.
"""

from __future__ import annotations

import argparse
from typing import Any

import checkout  # noqa: F401
import numpy as np
import torch
from clustering import EPS, K1, K2, MIN_SAMPLES, world
from gpu import now, options, parse, peak_memory, seconds, table, write
from hdc import MEMBERS
from hdc import world as hdc_world

from unreid.clustering import dbscan, hdc
from unreid.neighbors import jaccard_graph, knn

SMOKE = {"sizes": [300], "dim": 32, "hdc_sizes": [200], "repeats": 1, "knn": ["torch"]}
TARGETS = {12936: 0.5, 32621: 3.0}  # seconds, H100 class


def label_stages(n: int, search: str, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds by stage, and what came out."""
    device = torch.device(args.device)
    x = world(n, args.dim, "separated").to(device)
    settings = {"k1": K1, "k2": K2, "radius": EPS, "backend": "torch"}
    if args.once:  # imports and kernels
        few = x[: 8 * K1]
        dbscan(jaccard_graph(few, neighbors=knn(few, K1, backend=search), **settings), EPS, MIN_SAMPLES)
    with peak_memory(device) as peak:
        times = [now(device)]
        lists = knn(x, K1, backend=search)
        times.append(now(device))
        graph = jaccard_graph(x, neighbors=lists, **settings)
        times.append(now(device))
        labels, _ = dbscan(graph, EPS, MIN_SAMPLES)
        times.append(now(device))
    if args.once:
        stages = dict(zip(("neighbours", "jaccard", "dbscan"), np.diff(times).tolist()))
    else:
        stages = {
            "neighbours": seconds(lambda: knn(x, K1, backend=search), device, args.repeats),
            "jaccard": seconds(lambda: jaccard_graph(x, neighbors=lists, **settings), device, args.repeats),
            "dbscan": seconds(lambda: dbscan(graph, EPS, MIN_SAMPLES), device, args.repeats),
        }
    product = None
    if not args.once:
        product = seconds(lambda: [rows @ x.T for rows in x.split(4096)], device, args.repeats)
    return {
        "n": n,
        "search": search,
        **stages,
        "total": sum(stages.values()),
        "product": product,  # the float32 matrix product that an exact search contains
        "peak_mib": peak["mib"],
        "clusters": int(labels.max()) + 1,
        "target": TARGETS.get(n),
    }


def hdc_run(n: int, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a whole harmonic discrepancy clustering on a given N x N distance."""
    device = torch.device(args.device)
    x, dist = hdc_world(n, args.dim, device)
    start = now(device)
    labels, centroids = hdc.initial_state(x, dist, n // MEMBERS, rng=np.random.default_rng(0))
    seeded = now(device)
    with peak_memory(device) as peak:
        rounds = sum(1 for _ in hdc.iterate(x, dist, labels, centroids, hdc.HDCOptions(), overwrite_dist=True))
    return {"n": n, "seeding": seeded - start, "fit": now(device) - seeded, "rounds": rounds, "peak_mib": peak["mib"]}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = options(__doc__.splitlines()[0], SMOKE)
    parser.add_argument("--sizes", type=int, nargs="+", default=[12936, 32621])
    parser.add_argument("--hdc-sizes", type=int, nargs="*", default=[12936])
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--knn", nargs="+", choices=["torch", "torch_bf16"], default=["torch", "torch_bf16"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--once", action="store_true", help="time the first pass only")
    args = parse(parser, argv)
    rows = [label_stages(n, search, args) for n in args.sizes for search in args.knn]
    columns = ("n", "search", "neighbours", "jaccard", "dbscan", "total", "target", "product", "peak_mib", "clusters")
    table(columns, [[row[column] for column in columns] for row in rows])
    hdc_rows = [hdc_run(n, args) for n in args.hdc_sizes]
    if hdc_rows:
        print()
        table(["HDC", *list(hdc_rows[0])[1:]], [list(row.values()) for row in hdc_rows])
    result = {"labels": rows, "hdc": hdc_rows}
    write(args, "cuda_clustering", result)
    return result


if __name__ == "__main__":
    main()
