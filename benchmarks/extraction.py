"""Feature extraction: images per second in float32, bfloat16 and float16, and what the precision costs.

    python benchmarks/extraction.py [--images 12936 --batch 256 --size 256 128] [--flip] [--json]

Every precision is timed twice: the network alone on a resident batch (the rate that inference could have), and the
whole extraction from cached uint8 images. The change of a feature is 1 - cosine to its float32 form. What that does to
mAP needs trained weights:

    unreid eval --config-file F RESUME checkpoint.pth TEST.AMP off|bf16|fp16
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import torch
from gpu import network, now, options, parse, peak_memory, table, write
from loader import write_images
from torch import Tensor, nn

from unreid.data.cache import ImageCache
from unreid.data.extract_loader import ExtractLoader
from unreid.data.reading import Resize
from unreid.data.transforms import TestTransform
from unreid.evaluation.extract import AMP_DTYPES, extract_features
from unreid.structures import Tracklet

SMOKE = {
    "images": 48,
    "batch": 16,
    "size": [32, 16],
    "steps": 2,
    "backbone": "resnet_tiny",
    "precisions": ["off", "bf16"],
}
FILES = 256


def resident_rate(model: nn.Module, images: Tensor, amp: str, steps: int) -> float:
    """Images per second of the network alone, in eval mode."""
    model.eval()
    dtype = AMP_DTYPES[amp]
    with torch.no_grad(), torch.autocast(images.device.type, dtype=dtype, enabled=dtype is not None):
        for step in range(steps + 2):
            if step == 2:
                start = now(images.device)
            model(images)
    return steps * len(images) / (now(images.device) - start)


def extract(model: nn.Module, loader: ExtractLoader, count: int, amp: str, args: argparse.Namespace) -> Tensor:
    return extract_features(
        model, loader, feature="embedding", num_samples=count, device=args.device, flip=args.flip, amp=amp
    )


def measure(model: nn.Module, loader: ExtractLoader, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Rates and deviations by precision."""
    device = torch.device(args.device)
    batch, _ = next(iter(loader))
    exact = extract(model, loader, args.images, "off", args)  # fills the cache, too
    rows = {}
    for amp in args.precisions:
        alone = resident_rate(model, batch, amp, args.steps) / (2 if args.flip else 1)
        with peak_memory(device) as peak:
            start = now(device)
            features = extract(model, loader, args.images, amp, args)
            spent = now(device) - start
        change = 1 - nn.functional.cosine_similarity(features, exact)
        rows[amp] = {
            "resident": alone,
            "extraction": args.images / spent,
            "ratio": args.images / spent / alone,
            "peak_mib": peak["mib"],
            "mean_change": change.mean().item(),
            "largest_change": change.max().item(),
        }
    return rows


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = options(__doc__.splitlines()[0], SMOKE)
    parser.add_argument("--images", type=int, default=12936)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", type=int, nargs=2, default=[256, 128])
    parser.add_argument("--steps", type=int, default=20, help="resident batches that are timed")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--precisions", nargs="+", choices=AMP_DTYPES, default=["off", "bf16", "fp16"])
    parser.add_argument("--flip", action="store_true", help="with the mirror image, as TEST.FLIP does")
    args = parse(parser, argv)
    device = torch.device(args.device)
    with tempfile.TemporaryDirectory() as folder:
        files = write_images(Path(folder), min(FILES, args.images))
        loader = ExtractLoader(
            [Tracklet((files[number % len(files)],), 0, number) for number in range(args.images)],
            TestTransform(Resize(tuple(args.size)), channels_last=True),
            batch_size=args.batch,
            device=device,
            cache=ImageCache("auto", device=device),
        )
        with loader:
            rows = measure(network(args.backbone, device, channels_last=True), loader, args)
    names = {"off": "float32", "bf16": "bfloat16", "fp16": "float16"}
    table(
        ("", "network images/s", "extraction images/s", "ratio", "of float32", "MiB", "mean change", "largest"),
        [
            (
                *(names[amp], row["resident"], row["extraction"], row["ratio"]),
                *(row["extraction"] / rows[args.precisions[0]]["extraction"], row["peak_mib"]),
                *(row["mean_change"], row["largest_change"]),
            )
            for amp, row in rows.items()
        ],
    )
    write(args, "extraction", {"precisions": rows})
    return rows


if __name__ == "__main__":
    main()
