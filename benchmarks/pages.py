"""Processor time, page faults and peak memory of a training step with and without the memory that is kept.

    python benchmarks/pages.py [--backbones resnet50 vit_small] [--batch 16 --steps 4]

Each network takes its steps in two processes, one after the other: with glibc's allocator as it is, and with
``unreid.utils.allocator.keep_freed_memory``. One thread, channels last, images of 256 x 128, the least of the steps.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys

import checkout  # noqa: F401
import torch
from gpu import table

from unreid.models.base import create_backbone
from unreid.models.embedding import EmbeddingModel
from unreid.utils.allocator import keep_freed_memory

BACKBONES = ("resnet_tiny", "osnet_x1_0", "timm/tf_efficientnet_lite0", "vit_small", "resnet50")


def measure(backbone: str, batch: int, steps: int) -> tuple[float, int, int]:
    """Processor seconds and page faults of a step, and the peak of the process in MiB."""
    torch.set_num_threads(1)
    model = EmbeddingModel(create_backbone(backbone)).train().to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, 256, 128).contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), foreach=True)

    def spent() -> tuple[float, int]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime, usage.ru_minflt

    found = []
    for _ in range(steps + 1):
        before = spent()
        optimizer.zero_grad(set_to_none=True)
        model(images).embedding.sum().backward()
        optimizer.step()
        found.append(tuple(after - first for after, first in zip(spent(), before)))
    seconds, faults = min(found[1:])
    return seconds, faults, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", default=BACKBONES)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--keep", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.keep is not None:
        if args.keep and not keep_freed_memory({}):
            raise SystemExit("this C library keeps nothing")
        print(json.dumps(measure(args.backbones[0], args.batch, args.steps)))
        return
    rows = []
    for backbone in args.backbones:
        same = [sys.executable, __file__, "--batch", str(args.batch), "--steps", str(args.steps)]
        (before, faults, peak), (after, fewer, more) = (
            json.loads(subprocess.check_output([*same, "--backbones", backbone, "--keep", keep])) for keep in "01"
        )
        gain = f"{100 * (1 - after / before):.0f} %"
        rows.append((backbone, round(before, 3), round(after, 3), gain, faults, fewer, peak, more))
        print(*rows[-1], flush=True)
    table(("", "s as it is", "s kept", "less", "faults", "kept", "peak, MiB", "kept"), rows)


if __name__ == "__main__":
    main()
