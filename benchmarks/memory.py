"""Cost of one training step behind the encoder, for every memory and method, features given.

    python benchmarks/memory.py [--batch 256 --dim 2048 --clusters 750] [--threads 1] [--device cpu] [--json FILE]

A step is forward, backward to the features, and memory update. Printed are milliseconds, the ratio to Cluster
Contrast's step, and for the updates the ratio to an update that visits the samples one by one in Python, as the
published code does inside ``backward``. On a CPU the time is processor time, the least of the repeats, so that other
programs on the machine hardly matter.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import checkout  # noqa: F401
import torch
import torch.nn.functional as F
from torch import Tensor

from unreid.losses import camera_entropy_weights
from unreid.memory import ClusterMemory, DiversityMemory, ExclusiveTable, HybridMemory, Memory
from unreid.methods.ise import SupportSamples
from unreid.methods.parts import Rows
from unreid.structures import Clustering, Position

Fields = dict[str, Tensor]


def world(args: argparse.Namespace) -> tuple[Tensor, Clustering, Tensor, Tensor, Fields]:
    """Features of a training list, its clustering, and a batch of full groups from it."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(args.samples) % args.clusters
    centres = torch.randn(args.clusters, args.dim, generator=generator)
    features = F.normalize(centres[labels] + torch.randn(args.samples, args.dim, generator=generator), dim=1)
    classes = torch.randperm(args.clusters, generator=generator)[: args.batch // args.instances]
    rounds = torch.randint(args.samples // args.clusters, (args.instances,), generator=generator)
    indices = (classes.unsqueeze(1) + args.clusters * rounds).flatten()
    fields = {
        "indices": indices,
        "camids": torch.randint(6, (len(indices),), generator=generator),
        "reliable": torch.rand(len(indices), generator=generator) < 0.9,
    }
    batch = F.normalize(features[indices] + 0.3 * torch.randn(len(indices), args.dim, generator=generator) / 45, dim=1)
    place = torch.device(args.device)
    return (
        features.to(place),
        Clustering(labels, args.clusters),
        batch.to(place),
        labels[indices].to(place),
        {name: field.to(place) for name, field in fields.items()},
    )


def memory_step(memory: Memory, x: Tensor, y: Tensor, fields: Fields, bound: int) -> None:
    x.grad = None
    memory(x, y, **fields).backward()
    memory.update(x, y, num_instances=bound, **fields)


def camera_step(memory: Memory, x: Tensor, y: Tensor, fields: Fields, bound: int) -> None:
    x.grad = None
    memory(x, y, weights=camera_entropy_weights(y, fields["camids"]), **fields).backward()
    memory.update(x, y, num_instances=bound, **fields)


def support_step(memory: Memory, x: Tensor, y: Tensor, fields: Fields, bound: int) -> None:
    x.grad = None
    part, at = SupportSamples(), Position(round=3, epoch=15, epochs=50, step=1, iters=2, global_step=31)
    rows = part.expand(Rows(x, y, fields["camids"], fields["indices"], real=len(x)), memory, at)
    loss = memory(rows.features, rows.targets, scores=rows.scores)
    (loss + part.losses(rows, memory, at)["label_preserving"]).backward()
    memory.update(rows.features, rows.targets, num_instances=2 * bound)


def loop_update(memory: Memory, x: Tensor, y: Tensor, fields: Fields, bound: int) -> None:
    """Every sample on its own: the published way of the rule "all"."""
    with torch.no_grad():
        for sample, label in zip(x, y.tolist()):
            row = memory.momentum * memory.bank[label] + (1 - memory.momentum) * sample
            memory.bank[label] = row / row.norm()


def loop_step(memory: Memory, x: Tensor, y: Tensor, fields: Fields, bound: int) -> None:
    x.grad = None
    memory(x, y).backward()
    loop_update(memory, x, y, fields, bound)


STEPS: dict[str, tuple[Callable[[int], Memory], Callable[..., None]]] = {
    "ClusterContrast (all)": (lambda d: ClusterMemory(d, update="all"), memory_step),
    "  update one by one": (lambda d: ClusterMemory(d, update="all"), loop_step),
    "ClusterContrast (hard)": (lambda d: ClusterMemory(d, update="hard"), memory_step),
    "3C (chd, CIE)": (lambda d: ClusterMemory(d, update="chd"), camera_step),
    "3C (tccl, CIE)": (lambda d: ClusterMemory(d, update="tccl"), camera_step),
    "ISE (hard)": (lambda d: ClusterMemory(d, update="hard"), support_step),
    "ISE (all)": (lambda d: ClusterMemory(d, update="all"), support_step),
    "CDSM cm_hybrid": (lambda d: DiversityMemory(d, mode="cm_hybrid"), memory_step),
    "CDSM v2": (lambda d: DiversityMemory(d, mode="v2"), memory_step),
    "CDSM v3": (lambda d: DiversityMemory(d, mode="v3"), memory_step),
    "CDSM v4": (lambda d: DiversityMemory(d, mode="v4"), memory_step),
    "CDSM v5": (lambda d: DiversityMemory(d, mode="v5"), memory_step),
    "SpCL": (lambda d: HybridMemory(d), memory_step),
    "BUC": (lambda d: ExclusiveTable(d), memory_step),
}


def measure(step: Callable[[], None], device: torch.device, repeats: int) -> float:
    """Least milliseconds of a call, after a warm-up: processor time on a CPU, elapsed time on a GPU."""
    times = []
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    for turn in range(repeats + 2):
        start = clock()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if turn >= 2:
            times.append(1e3 * (clock() - start))
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--instances", type=int, default=16)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--clusters", type=int, default=750)
    parser.add_argument("--samples", type=int, default=12936, help="rows of SpCL's memory")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, default=None, help="also write the numbers here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    features, clustering, x, y, fields = world(args)
    print(f"batch {len(x)}, {args.dim} dimensions, {args.clusters} clusters, {args.device}")
    print(f"{'':26}{'step ms':>9}{'/ CC':>7}{'update ms':>11}{'/ loop':>8}")
    loop = ClusterMemory(args.dim, device=args.device)
    loop.reset(features, clustering)
    slow = measure(partial(loop_update, loop, x, y, fields, 0), x.device, args.repeats)
    base, rows = 0.0, {}
    for name, (build, step) in STEPS.items():
        memory = build(args.dim).to(args.device)
        memory.reset(features, clustering)
        inputs, bound = x.clone().requires_grad_(), args.instances
        total = measure(partial(step, memory, inputs, y, fields, bound), x.device, args.repeats)
        write = partial(memory.update, x, y, num_instances=bound, **fields)
        update = slow if "one by one" in name else measure(write, x.device, args.repeats)
        base = base or total
        rows[name.strip()] = {"step_ms": total, "ratio": total / base, "update_ms": update}
        print(f"{name:26}{total:9.1f}{total / base:7.2f}{update:11.1f}{slow / update:7.1f}x")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
