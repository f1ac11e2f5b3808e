"""What camera awareness costs: the pair graph of a round, and the loss and update of a step.

    python benchmarks/proxies.py graph [--size 12936 --dim 2048 --knn torch] [--threads 1] [--json FILE]
    python benchmarks/proxies.py step [--batch 256 --clusters 700 --cameras 5] [--network 16] [--json FILE]

``graph``: CA-Jaccard beside the plain Jaccard distance, neighbour search included, each in a process of its own; wall
and processor seconds, peak memory above the features. ``step``: processor milliseconds, the least of the repeats, of
forward to the memory, backward to the features and update, for Cluster Contrast's and O2CAP's memories; ``--network``
images go through a ResNet-50 at 256 x 128, forward and backward, for the share of the whole step.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.isolated import Meter, call  # noqa: E402

RADIUS = 0.6


def made_up(size: int, dim: int, cameras: int) -> tuple[Tensor, Tensor]:
    """Unit features of 17 images an identity with a shift of every camera, and the cameras; low intrinsic dimension."""
    rng = np.random.default_rng(0)
    identity = rng.integers(max(1, size // 17), size=size)
    camids = rng.integers(cameras, size=size)
    latent = 64
    centres = rng.standard_normal((identity.max() + 1, latent)).astype(np.float32)
    shifts = 0.6 * rng.standard_normal((cameras, latent)).astype(np.float32)
    code = centres[identity] + shifts[camids] + 0.5 * rng.standard_normal((size, latent)).astype(np.float32)
    table = code @ (rng.standard_normal((latent, dim)).astype(np.float32) / latent**0.5)
    return F.normalize(torch.from_numpy(table), dim=1), torch.from_numpy(camids)


def graph(args: argparse.Namespace) -> dict[str, Any]:
    """One graph; runs in a process of its own."""
    from unreid.clustering import DBSCAN
    from unreid.neighbors import PairGraphBuilder

    torch.set_num_threads(args.threads)
    features, camids = made_up(args.size, args.dim, args.cameras)
    build = PairGraphBuilder(metric=args.child, knn_backend=args.knn)
    build(features[:500], RADIUS, camids=camids[:500])  # imports and first calls
    with Meter() as meter:
        found = build(features, RADIUS, camids=camids)
    with Meter() as cluster:
        clustering = DBSCAN(RADIUS, 4).cluster(features, found)
    return {
        "seconds": meter.seconds,
        "cpu_seconds": meter.cpu_seconds,
        "peak_mb": meter.peak_mb,
        "pairs": len(found),
        "dbscan_seconds": cluster.seconds,
        "clusters": clustering.num_clusters,
    }


def compare_graphs(args: argparse.Namespace) -> dict[str, Any]:
    """Both metrics, each in a fresh process."""
    rows = {}
    for metric in ("jaccard", "ca_jaccard"):
        options = ["--size", args.size, "--dim", args.dim, "--cameras", args.cameras, "--knn", args.knn]
        rows[metric] = row = call(__file__, ["graph", *options, "--threads", args.threads, "--child", metric])
        print(
            f"{metric:12}{row['seconds']:8.1f} s {row['cpu_seconds']:8.1f} CPU s {row['peak_mb']:8.0f} MB "
            f"{row['pairs']:12,} pairs, {row['clusters']} clusters"
        )
    ratio = rows["ca_jaccard"]["cpu_seconds"] / rows["jaccard"]["cpu_seconds"]
    print(f"processor time of CA-Jaccard: {ratio:.2f} of the plain distance's")
    return rows


def step(args: argparse.Namespace) -> dict[str, Any]:
    """Cluster Contrast's memory and O2CAP's on one batch of full groups, and the network's part."""
    from unreid.memory import ClusterMemory, ProxyMemory
    from unreid.structures import Clustering

    torch.set_num_threads(args.threads)
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(args.size) % args.clusters
    camids = torch.randint(args.cameras, (args.size,), generator=generator)
    centres = torch.randn(args.clusters, args.dim, generator=generator)
    features = F.normalize(centres[labels] + torch.randn(args.size, args.dim, generator=generator), dim=1)
    indices = proxy_groups(labels, camids, args.batch, args.instances, generator)
    inputs = F.normalize(features[indices] + 0.3 * torch.randn(len(indices), args.dim, generator=generator) / 45, dim=1)
    clustering = Clustering(labels, args.clusters)
    rows: dict[str, Any] = {}
    for name, memory in (("Cluster Contrast", ClusterMemory(args.dim)), ("O2CAP", ProxyMemory(args.dim))):
        memory.reset(features, clustering, camids=camids)
        batch, targets, cameras = inputs.clone().requires_grad_(), labels[indices], camids[indices]

        def once(memory: Any = memory, batch: Tensor = batch, y: Tensor = targets, c: Tensor = cameras) -> None:
            batch.grad = None
            memory(batch, y, camids=c).backward()
            memory.update(batch, y, camids=c, num_instances=args.instances)

        rows[name] = {"rows": len(memory.bank), "ms": least(once, args.repeats)}
    if args.network:
        rows["network_ms"] = network(args.network) * args.batch / args.network
    base, proxies, rest = rows["Cluster Contrast"]["ms"], rows["O2CAP"]["ms"], rows.get("network_ms", 0.0)
    for name in ("Cluster Contrast", "O2CAP"):
        print(f"{name:18}{rows[name]['rows']:7} rows {rows[name]['ms']:9.1f} ms")
    print(f"memory alone {proxies / base:.2f}")
    if rest:
        print(f"network {rest:.0f} ms; whole step {(proxies + rest) / (base + rest):.4f}")
    return rows


def proxy_groups(labels: Tensor, camids: Tensor, batch: int, instances: int, generator: torch.Generator) -> Tensor:
    """int64 (batch,): groups of ``instances`` samples of one proxy."""
    key = labels * (int(camids.max()) + 1) + camids
    found: list[Tensor] = []
    for proxy in torch.randperm(int(key.max()) + 1, generator=generator).tolist():
        members = (key == proxy).nonzero().flatten()
        if len(members) > 1 and len(found) < batch // instances:
            found.append(members[torch.arange(instances) % len(members)])
    return torch.cat(found)


def network(images: int) -> float:
    """Milliseconds of forward and backward of a ResNet-50 as Cluster Contrast trains it."""
    from unreid.models.base import create_backbone
    from unreid.models.embedding import EmbeddingModel

    model = EmbeddingModel(create_backbone("resnet50", last_stride=1)).train()
    batch = torch.randn(images, 3, 256, 128)
    return least(lambda: model(batch).embedding.sum().backward(), 2)


def least(work: Callable[[], Any], repeats: int) -> float:
    """Least processor milliseconds of a call, after a warm-up."""
    times = []
    for _ in range(repeats + 1):
        start = time.process_time()
        work()
        times.append(1e3 * (time.process_time() - start))
    return min(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["graph", "step"])
    parser.add_argument("--size", type=int, default=12936)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--cameras", type=int, default=5)
    parser.add_argument("--knn", default="torch", help="CLUSTER.KNN.BACKEND of the graphs")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--instances", type=int, default=4)
    parser.add_argument("--clusters", type=int, default=700)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--network", type=int, default=0, help="images that go through a ResNet-50; 0: none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=None, help="also write the numbers here")
    parser.add_argument("--child", choices=["jaccard", "ca_jaccard"], default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(graph(args)))
        return
    rows = compare_graphs(args) if args.what == "graph" else step(args)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
