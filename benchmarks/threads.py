"""What a second thread costs or brings, with and without threads that spin while they wait.

    python benchmarks/threads.py [--seconds 6] [--threads 2]

Training steps of the small net (64 images of 64 x 32), each way in a process of its own, one after the other. Printed
with the load of the machine: on an idle one a thread that spins answers sooner, on a busy one it takes the processor
from those it waits for. ``passive`` is what every command of this project sets where the user has set nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

import checkout  # noqa: F401

WAYS = {"1 thread": (1, {}), "{}, spinning": (0, {}), "{}, passive": (0, {"OMP_WAIT_POLICY": "passive"})}


def measure(threads: int, seconds: float) -> dict[str, float]:
    """Milliseconds of a step."""
    import torch

    from unreid.models.base import create_backbone

    torch.set_num_threads(threads)
    network, images = create_backbone("resnet_tiny").train(), torch.randn(64, 3, 64, 32)

    def step() -> None:
        network(images).mean().backward()

    step()
    steps, wall, processor = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        step()
        steps += 1
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return {"wall_ms": 1e3 * wall / steps, "cpu_ms": 1e3 * processor / steps, "load": os.getloadavg()[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(measure(args.worker, args.seconds)))
        return
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_"))}
    for name, (threads, variables) in WAYS.items():
        options = ["--worker", str(threads or args.threads), "--seconds", str(args.seconds)]
        command = [sys.executable, __file__, *options]
        text = subprocess.run(command, env=clean | variables, check=True, capture_output=True, text=True).stdout
        row = json.loads(text.strip().splitlines()[-1])
        label = name.format(f"{args.threads} threads")
        print(f"{label:22}{row['wall_ms']:10.1f} ms {row['cpu_ms']:10.1f} CPU ms a step, load {row['load']:.1f}")


if __name__ == "__main__":
    main()
