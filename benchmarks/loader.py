"""Training images per second: our loader against the references' way, as ratios of one run.

The references decode a JPEG per sample and transform it alone: PIL resize, flip, pad, crop, ToTensor, Normalize,
erasing. Ours draws the parameters of a batch at once and augments uint8 batches where the model is; decoded images are
kept in memory when they fit. Every row gives the model float batches on the device.

Run: ``python benchmarks/loader.py [--device cuda] [--images 512] [--size 256 128] [--batch 64] [--workers 2]``
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import checkout  # noqa: F401
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T

from unreid.data.augment_params import AugmentRecipe
from unreid.data.batches import EpochBatches
from unreid.data.cache import ImageCache
from unreid.data.loader import TrainLoader
from unreid.data.reading import Resize
from unreid.data.samplers import MultiCameraSampler
from unreid.data.transforms import IMAGENET_MEAN, IMAGENET_STD, TrainTransform
from unreid.structures import Tracklet

GROUP = 4  # images per cluster, and instances per cluster in a batch


class ReferenceErasing:
    """Erasing one image at a time, try by try."""

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        if random.random() >= 0.5:
            return image
        _, height, width = image.shape
        for _ in range(100):
            area, ratio = random.uniform(0.02, 0.4) * height * width, random.uniform(0.3, 1 / 0.3)
            h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if h < height and w < width:
                top, left = random.randint(0, height - h), random.randint(0, width - w)
                image[:, top : top + h, left : left + w] = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
                break
        return image


class ReferenceDataset(Dataset):
    """One sample: open, decode, transform."""

    def __init__(self, paths: list[str], size: tuple[int, int]) -> None:
        self.paths = paths
        self.transform = T.Compose(
            [
                T.Resize(size, interpolation=T.InterpolationMode.BICUBIC),
                T.RandomHorizontalFlip(),
                T.Pad(10),
                T.RandomCrop(size),
                T.ToTensor(),
                T.Normalize(IMAGENET_MEAN, IMAGENET_STD),
                ReferenceErasing(),
            ]
        )

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB")), index


def write_images(folder: Path, count: int) -> list[str]:
    """Smooth random JPEG files of the usual native size (128 x 64)."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        image = Image.fromarray(rng.integers(0, 256, (16, 8, 3), dtype=np.uint8))
        paths.append(str(folder / f"{number:05d}.jpg"))
        image.resize((64, 128), Image.Resampling.BICUBIC).save(paths[-1], quality=90)
    return paths


def reference(paths: list[str], args: argparse.Namespace, workers: int) -> Iterator[torch.Tensor]:
    """The references' loader over the same order of samples; endless."""
    batches = order(paths, args)
    loader = DataLoader(
        ReferenceDataset(paths, tuple(args.size)),
        batch_sampler=[indices.tolist() for _, indices in batches.epoch(0)],
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    while True:
        for images, _ in loader:
            yield images.to(args.device)


def ours(paths: list[str], args: argparse.Namespace, workers: int, cache: str) -> Iterator[torch.Tensor]:
    """Our loader; endless."""
    size = tuple(args.size)
    loader = TrainLoader(
        [Tracklet((path,), number % GROUP, number) for number, path in enumerate(paths)],
        np.arange(len(paths)) // GROUP,
        order(paths, args),
        [TrainTransform(Resize(size), AugmentRecipe(size))],
        device=args.device,
        workers=workers,
        cache=ImageCache(cache, device=args.device),
    )
    epoch = 0
    with loader:
        while True:
            for batch in loader.epoch(epoch):
                yield batch.views[0]
            epoch += 1


def order(paths: list[str], args: argparse.Namespace) -> EpochBatches:
    labels = np.arange(len(paths)) // GROUP
    return EpochBatches(MultiCameraSampler(labels, np.arange(len(paths)) % GROUP, GROUP), args.batch)


def images_per_second(batches: Iterator[torch.Tensor], seconds: float) -> float:
    """Rate after two batches that start workers and fill queues."""
    for _ in range(2):
        next(batches)
    _wait()
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        count += len(next(batches))
    _wait()
    return count / (time.perf_counter() - begin)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--size", type=int, nargs=2, default=(256, 128), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0, help="measured time per row")
    parser.add_argument("--json", default="", help="also write the rows to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_images(Path(folder), args.images)
        streams = {
            "reference way, main process": reference(paths, args, 0),
            f"reference way, {args.workers} workers": reference(paths, args, args.workers),
            "ours, files, main process": ours(paths, args, 0, "off"),
            f"ours, files, {args.workers} workers": ours(paths, args, args.workers, "off"),
            "ours, cached": ours(paths, args, 0, "auto"),
        }
        rates = {}
        for name, stream in streams.items():
            rates[name] = images_per_second(stream, args.seconds)
            stream.close()
    base = rates["reference way, main process"]
    print(f"{args.size[0]}x{args.size[1]}, batch {args.batch}, {args.device}, {torch.get_num_threads()} threads")
    for name, rate in rates.items():
        print(f"{name:32s} {rate:10.0f} images/s {rate / base:7.1f} x")
    if args.json:
        Path(args.json).write_text(json.dumps({"arguments": vars(args), "images_per_second": rates}, indent=1))


if __name__ == "__main__":
    main()
