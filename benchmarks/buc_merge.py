"""One merge of BUC: time and peak memory against a textbook version that sorts all N^2 pairs.

    python benchmarks/buc_merge.py [--sizes 2000 4000 12936] [--textbook-up-to 4000] [--merges 2] [--threads 2]

Both get the same features and partitions, each in a process of its own. The textbook version does what the published
code does, with the whole matrix and a full sort, but with a union-find instead of rewritten label lists. Peak memory
is resident memory above the features.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import checkout  # noqa: F401
import numpy as np
import torch
import torch.nn.functional as F
from isolated import Meter, call
from torch import Tensor

from unreid.clustering.bottom_up import BottomUpPartition

MEMBERS = 17  # samples per identity, as in Market-1501


def world(n: int, dim: int, device: torch.device) -> Tensor:
    """Unit features in groups, in random order."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(math.ceil(n / MEMBERS), dim, generator=generator)
    owner = torch.randint(len(centres), (n,), generator=generator)
    return F.normalize(centres[owner] + torch.randn(n, dim, generator=generator), dim=1).to(device)


def textbook(x: Tensor, labels: np.ndarray, num_merges: int, penalty: float) -> np.ndarray:
    """Whole matrix, argsort of all pairs, union-find in the order of weight."""
    rows = x.cpu().numpy()
    squares = (rows**2).sum(1)
    weight = squares[:, None] + squares - 2 * rows @ rows.T
    sizes = np.bincount(labels)[labels].astype(np.float32)
    weight += penalty * (sizes[:, None] + sizes)
    weight[labels[:, None] == labels] = np.inf
    weight[np.tri(len(rows), dtype=bool)] = np.inf
    first, second = np.unravel_index(np.argsort(weight, axis=None), weight.shape)
    parent = list(range(int(labels.max()) + 1))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    left = num_merges
    for i, j in zip(first, second):
        a, b = root(labels[i]), root(labels[j])
        if a != b:
            parent[max(a, b)] = min(a, b)
            left -= 1
            if left == 0:
                break
    united = np.array([root(node) for node in range(len(parent))])[labels]
    return np.unique(united, return_inverse=True)[1]


def child(args: argparse.Namespace) -> None:
    """One measurement; prints a JSON object."""
    if args.threads:
        torch.set_num_threads(args.threads)
    n, device = args.sizes[0], torch.device(args.device)
    x = world(n, args.dim, device)
    merger = BottomUpPartition(n, block=args.block)
    merger.merge(x[:, :1])  # imports and thread pools
    merger.labels = torch.arange(n)
    labels = merger.labels.numpy()
    with Meter() as meter:
        for _ in range(args.merges):
            if args.child == "ours":
                labels = merger.merge(x).numpy()
            else:
                labels = textbook(x, labels, merger.merges, 0.003)
    row = {"seconds": meter.seconds, "cpu_seconds": meter.cpu_seconds, "peak_mb": meter.peak_mb}
    print(json.dumps({**row, "checksum": int((labels * np.arange(n)).sum())}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[2000, 4000, 12936])
    parser.add_argument("--textbook-up-to", type=int, default=4000, help="largest N of the textbook version")
    parser.add_argument("--merges", type=int, default=2, help="merges in a row, each of 5 %% of N")
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--block", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=0, help="0: torch's default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, default=None, help="also write the numbers here")
    parser.add_argument("--child", choices=["ours", "textbook"], default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args)
    print(f"{args.dim} dimensions, seconds per merge, {args.device}")
    print(f"{'N':>6}{'s':>8}{'cpu s':>8}{'MiB':>8}   textbook{'s':>8}{'cpu s':>8}{'MiB':>8}{'speed-up':>10}  labels")
    rows = []
    for n in args.sizes:
        common = ["--sizes", n, "--dim", args.dim, "--threads", args.threads, "--merges", args.merges]
        common += ["--block", args.block, "--device", args.device]
        ours = call(__file__, ["--child", "ours", *common])
        row = {
            "n": n,
            **{key: ours[key] / args.merges for key in ("seconds", "cpu_seconds")},
            "peak_mb": ours["peak_mb"],
        }
        line = f"{n:6d}{row['seconds']:8.2f}{row['cpu_seconds']:8.2f}{row['peak_mb']:8.0f}"
        if n <= args.textbook_up_to:
            slow = call(__file__, ["--child", "textbook", *common])
            clock = "seconds" if args.device != "cpu" else "cpu_seconds"
            row["speedup"] = slow[clock] / ours[clock]
            row["textbook_peak_mb"] = slow["peak_mb"]
            same = "equal" if slow["checksum"] == ours["checksum"] else "differ"
            times = f"{slow['seconds'] / args.merges:8.2f}{slow['cpu_seconds'] / args.merges:8.2f}"
            line += f"   {'':8}{times}{slow['peak_mb']:8.0f}{row['speedup']:9.1f}x  {same}"
        rows.append(row)
        print(line)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
