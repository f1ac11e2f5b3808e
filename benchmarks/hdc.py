"""Harmonic discrepancy clustering: time and peak memory against a straightforward dense implementation.

    python benchmarks/hdc.py [--sizes 2000 4000 12936] [--dense-iterations 0 0 2] [--threads 2] [--device cpu]

Both start from the same labels and run on the same matrix, each in a process of its own. The dense version evaluates
the published formulas with whole arrays: complex features and a complex product per iteration, N x N arrays for
distances, discrepancies and harmonic terms. ``--dense-iterations`` limits it (0: as many as ours); the ratio compares
equal numbers of iterations (the first ones, in which ours has nothing to reuse), by processor time on CPUs because
that is disturbed least by other work. Peak memory is resident memory above features and the given matrix.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import numpy as np
import torch
import torch.nn.functional as F
from isolated import Meter, call
from torch import Tensor

from unreid.clustering import hdc

MEMBERS = 16  # samples per identity
OVERLAP = 0.03  # cosine below which two samples share no neighbour


def world(n: int, dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Unit features in groups, and a matrix like a Jaccard distance: 1 for most pairs."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(math.ceil(n / MEMBERS), dim, generator=generator)
    noise = torch.randn(n, dim, generator=generator)
    features = F.normalize(centres.repeat_interleave(MEMBERS, 0)[:n] + 1.2 * noise, dim=1).to(device)
    dist = hdc.distance_matrix(features, similarity="cosine")
    similarity = dist.mul_(-2).add_(1 - OVERLAP).clamp_(min=0).div_(1 - OVERLAP)
    return features, similarity.neg_().add_(1)


def ours(x: Tensor, dist: Tensor, labels: Tensor, centroids: Tensor, block: int, elapsed: list[float]) -> Tensor:
    """Runs to the end and appends the seconds after every iteration to ``elapsed``."""
    clock = time.perf_counter if x.is_cuda else time.process_time
    begin = clock()
    for state in hdc.iterate(x, dist, labels, centroids, hdc.HDCOptions(block=block), overwrite_dist=True):
        elapsed.append(clock() - begin)  # the shift has been read back: the device is idle
        labels = state.core_labels
    return labels


def dense(x: Tensor, dist: Tensor, labels: Tensor, centroids: Tensor, iterations: int) -> Tensor:
    """The published procedure with whole arrays; only the rare relocation into empty clusters is shared with ours."""
    a, num_clusters = 1 - torch.exp(-dist), len(centroids)
    for _ in range(iterations):
        e, f = (torch.exp(1.9j * math.pi * rows) / math.sqrt(2) for rows in (x, centroids))
        d = ((e**2).sum(1, keepdim=True) + (f**2).sum(1) - 2 * e @ f.T).abs()
        confidence = torch.exp(-5 * d / d.max()).gather(1, labels[:, None])[:, 0]
        term = a * confidence / (a + confidence)
        hd = torch.ones(len(x), num_clusters, device=x.device)
        for cluster in labels.unique().tolist():
            members = torch.nonzero(labels == cluster).squeeze(1)
            best = members[term[:, members].argmax(1)]
            hd[:, cluster] = a.gather(1, best[:, None])[:, 0]
        own, labels = hd.min(1)
        labels, own = hdc.relocate(labels, hdc.membership(hd, labels), own, hd)
        core = labels.clone()
        for cluster in labels.unique().tolist():
            members = torch.nonzero(labels == cluster).squeeze(1)
            if len(members) > 1:
                core[members[own[members] > own[members].mean() + own[members].std()]] = -1
            centroids[cluster] = x[core == cluster].mean(0)
    return core


def child(args: argparse.Namespace) -> None:
    """One measurement; prints a JSON object."""
    if args.threads:
        torch.set_num_threads(args.threads)
    device, n = torch.device(args.device), args.sizes[0]
    x, dist = world(n, args.dim, device)
    start = hdc.initial_state(x, dist, n // MEMBERS, rng=np.random.default_rng(0))
    elapsed: list[float] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    with Meter() as meter:
        if args.child == "dense":
            core = dense(x, dist, *start, args.dense_iterations[0])
            elapsed = [0.0] * args.dense_iterations[0]
        else:
            core = ours(x, dist, *start, args.block, elapsed)
        labels = core.tolist()
    peak = meter.peak_mb
    if device.type == "cuda":
        peak = (torch.cuda.max_memory_allocated(device) - before) / 2**20
    row = {"seconds": meter.seconds, "cpu_seconds": meter.cpu_seconds, "peak_mb": peak, "labels": labels}
    print(json.dumps({**row, "iterations": len(elapsed), "elapsed": elapsed}))


def compare(args: argparse.Namespace, n: int, limit: int) -> dict[str, Any]:
    """Ours and the dense version at one size."""
    common = ["--sizes", n, "--dim", args.dim, "--threads", args.threads, "--device", args.device]
    ours = call(__file__, ["--child", "ours", "--block", args.block, *common])
    iterations = min(limit, ours["iterations"]) if limit else ours["iterations"]
    slow = call(__file__, ["--child", "dense", "--dense-iterations", iterations, *common])
    return {
        "n": n,
        "iterations": ours["iterations"],
        "seconds": ours["seconds"],
        "cpu_seconds": ours["cpu_seconds"],
        "peak_mb": ours["peak_mb"],
        "dense_iterations": iterations,
        "dense_seconds": slow["seconds"],
        "dense_cpu_seconds": slow["cpu_seconds"],
        "dense_peak_mb": slow["peak_mb"],
        "speedup": slow["seconds" if args.device != "cpu" else "cpu_seconds"] / ours["elapsed"][iterations - 1],
        "agreement": float(np.mean(np.equal(ours["labels"], slow["labels"]))) if not limit else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[2000, 4000, 12936])
    parser.add_argument("--dense-iterations", type=int, nargs="+", default=[0, 0, 2], help="one per size; 0: all")
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--block", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=0, help="0: torch's default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, default=None, help="also write the numbers here")
    parser.add_argument("--child", choices=["ours", "dense"], default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args)
    print(f"{args.dim} dimensions, {MEMBERS} samples per cluster, {args.device}")
    print(
        f"{'N':>6}{'iter':>6}{'s':>8}{'cpu s':>8}{'MiB':>8}   dense: iter{'s':>8}{'cpu s':>8}{'MiB':>8}{'speed-up':>10}"
    )
    rows = []
    limits = args.dense_iterations + [0] * len(args.sizes)
    for n, limit in zip(args.sizes, limits):
        row = compare(args, n, limit)
        rows.append(row)
        print(
            f"{n:6d}{row['iterations']:6d}{row['seconds']:8.2f}{row['cpu_seconds']:8.2f}{row['peak_mb']:8.0f}"
            f"   {row['dense_iterations']:11d}{row['dense_seconds']:8.2f}{row['dense_cpu_seconds']:8.2f}"
            f"{row['dense_peak_mb']:8.0f}{row['speedup']:9.1f}x"
            + ("" if row["agreement"] is None else f"{row['agreement']:11.2%}")
        )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
