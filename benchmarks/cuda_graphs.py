"""What CUDA graphs would spare a training step: the same step launched one by one and replayed as a graph.

    python benchmarks/cuda_graphs.py [--batch 256 --size 256 128] [--amp bf16] [--json]

A step is forward, Cluster Contrast's loss, backward, optimiser and memory update on a resident batch; *network* leaves
the memory out. A graph spares the host's launches, so the gain is what the host could not hide behind the device. A
step that waits for the device cannot be captured: then the reason stands in the place of the time. Without CUDA only
the plain steps are timed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import checkout  # noqa: F401
import torch
from gpu import fused_adam, network, options, parse, seconds, table, write
from torch import Tensor, nn

from unreid.engine.precision import Precision
from unreid.memory import ClusterMemory

SMOKE = {
    **{"batch": 16, "instances": 4, "size": [32, 16], "clusters": 20, "repeats": 3},
    **{"backbone": "resnet_tiny", "amp": "off"},
}


class Step:
    """One training step on fixed inputs."""

    def __init__(self, args: argparse.Namespace, *, with_memory: bool) -> None:
        device = torch.device(args.device)
        self.instances = args.instances
        self.images = torch.randn(args.batch, 3, *args.size, device=device).contiguous(
            memory_format=torch.channels_last
        )
        self.targets = torch.arange(args.batch // args.instances, device=device).repeat_interleave(args.instances)
        self.model: nn.Module = network(args.backbone, device, channels_last=True).train()
        self.optimizer = fused_adam(self.model)
        for group in self.optimizer.param_groups:
            group["capturable"] = device.type == "cuda"
        self.precision = Precision(args.amp, device=device)
        self.memory = self._memory(args, device) if with_memory else None
        self.direction = torch.randn(args.batch, self.model.feature_dim, device=device)  # as good as no loss

    def _memory(self, args: argparse.Namespace, device: torch.device) -> ClusterMemory:
        memory = ClusterMemory(self.model.feature_dim, device=device)
        labels = torch.arange(2 * args.clusters) % args.clusters
        memory.reset(torch.randn(len(labels), self.model.feature_dim, device=device), labels)
        return memory

    def __call__(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        with self.precision.autocast():
            embedding = self.model(self.images).embedding
        self._loss(embedding.float()).backward()
        self.optimizer.step()
        if self.memory is not None:
            self.memory.update(embedding, self.targets, num_instances=self.instances)

    def _loss(self, embedding: Tensor) -> Tensor:
        return (embedding * self.direction).mean() if self.memory is None else self.memory(embedding, self.targets)


def captured(step: Step) -> Callable[[], None]:
    """The replay of a step; raises ``RuntimeError`` where it cannot be captured."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # lazy states and workspaces must exist
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    step.optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def measure(args: argparse.Namespace, *, with_memory: bool) -> dict[str, Any]:
    """Milliseconds of a step, launched and replayed, and why it was not captured."""
    device = torch.device(args.device)
    step = Step(args, with_memory=with_memory)
    row: dict[str, Any] = {"eager_ms": 1e3 * seconds(step, device, args.repeats, warmup=3), "graph_ms": None}
    if device.type != "cuda":
        return row | {"reason": "no CUDA device"}
    try:
        replay = captured(step)
    except RuntimeError as error:
        return row | {"reason": str(error).splitlines()[0]}
    row["graph_ms"] = 1e3 * seconds(replay, device, args.repeats)
    return row | {"speedup": row["eager_ms"] / row["graph_ms"]}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = options((__doc__ or "").splitlines()[0], SMOKE)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--instances", type=int, default=16)
    parser.add_argument("--clusters", type=int, default=700)
    parser.add_argument("--size", type=int, nargs=2, default=[256, 128])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--amp", choices=["off", "bf16"], default="bf16")
    args = parse(parser, argv)
    # The failed capture of one may leave the device unusable for the other: the network comes first.
    rows = {name: measure(args, with_memory=name == "step") for name in ("network", "step")}
    table(
        ("", "eager ms", "graph ms", "speed-up", "reason"),
        [
            (name, row["eager_ms"], row["graph_ms"] or "-", row.get("speedup", "-"), row.get("reason", ""))
            for name, row in rows.items()
        ],
    )
    result = {"graphs": rows}
    write(args, "cuda_graphs", result)
    return result


if __name__ == "__main__":
    main()
