"""Images per second of training and extraction against the bare network, for several backbones in one run.

    python benchmarks/throughput.py [--backbones resnet50 osnet_x0_25] [--batch 16 --steps 4 --images 64] [--threads 1]

``train_step.py`` and ``extraction.py`` for each backbone in turn, float32, 256 x 128 images from the cache that a run
keeps. With one thread on a CPU the seconds are those of the processor, all threads of the process together, so that
other work on the machine hardly counts; with more they are those of the clock.
"""

from __future__ import annotations

import argparse
import contextlib
import io

import checkout  # noqa: F401
import extraction
import torch
import train_step
from gpu import table

from unreid.utils.allocator import keep_freed_memory

BACKBONES = ("resnet_tiny", "osnet_x0_25", "timm/tf_efficientnet_lite0", "vit_small", "resnet50")


def measure(backbone: str, args: argparse.Namespace) -> tuple[object, ...]:
    common = ["--device", args.device, "--backbone", backbone, "--batch", str(args.batch)]
    common += ["--size", *map(str, args.size), "--steps", str(args.steps)]
    with contextlib.redirect_stdout(io.StringIO()):
        trained = train_step.main([*common, "--amp", "off", "--warmup", "1", "--images", str(args.images)])
        extracted = extraction.main([*common, "--precisions", "off", "--images", str(args.images)])["off"]
    rates = trained["images_per_second"]
    return (
        *(backbone, rates["bare"], rates["loop"], trained["loop_of_bare"]),
        *(extracted["resident"], extracted["extraction"], extracted["ratio"]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", default=BACKBONES)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, nargs=2, default=[256, 128])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    rows = []
    for backbone in args.backbones:
        rows.append(measure(backbone, args))
        print(*rows[-1], flush=True)
    table(("", "bare", "training", "ratio", "network", "extraction", "ratio"), rows)


if __name__ == "__main__":
    main()
