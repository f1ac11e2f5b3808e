"""One epoch of Cluster Contrast at the size of Market-1501, phase by phase, against the references' way.

    python benchmarks/end_to_end.py [--amp bf16] [--iters 400 --batch 256] [--epochs 50] [--data FOLDER] [--json]

The data are 12,936 training, 3,368 query and 19,732 gallery JPEG files of 128x64 pixels, rendered once into ``--data``
(smooth noise where OpenCV is missing: the work is the same). Phases are decoding (once a run), extraction of the
training set, neighbours + Jaccard + DBSCAN, training, evaluation. Training is timed over ``--steps`` steps and scaled
to ``--iters``; it trains on the rendered identities, because clusters of an untrained network mean nothing, and time is
all that is asked here. The references' way is in ``reference_epoch.py``; of its slow phases a part is done and scaled.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import numpy as np
import torch
from gpu import network, now, options, parse, table, write
from loader import write_images
from reference_epoch import EPS, ReferenceEpoch
from torch import Tensor, nn
from train_step import Stopwatch, trainer_loop

from unreid.clustering import dbscan
from unreid.data.augment_params import AugmentRecipe
from unreid.data.batches import EpochBatches
from unreid.data.cache import ImageCache
from unreid.data.extract_loader import ExtractLoader
from unreid.data.loader import TrainLoader
from unreid.data.reading import Resize
from unreid.data.samplers import MultiCameraSampler
from unreid.data.transforms import TestTransform, TrainTransform
from unreid.evaluation.distance import pairwise_distance
from unreid.evaluation.extract import extract_features
from unreid.evaluation.metrics import cmc_map
from unreid.neighbors import jaccard_graph, knn
from unreid.structures import Tracklet

SMOKE = {
    **{"train": 96, "query": 16, "gallery": 48, "batch": 16, "instances": 4, "size": [32, 16], "iters": 4},
    **{"steps": 3, "warmup": 1, "reference_steps": 3, "reference_images": 32, "workers": 0, "k1": 8, "k2": 3},
    **{"backbone": "resnet_tiny", "amp": "off"},
}
CAMERAS, PER_IDENTITY = 6, 17
Part = tuple[list[Tracklet], np.ndarray]


def data(folder: Path, args: argparse.Namespace) -> dict[str, Part]:
    """Records and identities of the three parts, exactly as many as asked for."""
    wanted = {"train": args.train, "query": args.query, "gallery": args.gallery}
    try:
        import cv2  # noqa: F401 (what the renderer draws with)
    except ModuleNotFoundError:
        print("no OpenCV: images of smooth noise instead of rendered ones")
        return noise(folder, wanted)
    return rendered(folder, wanted)


def rendered(folder: Path, wanted: dict[str, int]) -> dict[str, Part]:
    from unreid.data.datasets.synthetic import Synthetic
    from unreid.rendering.knobs import WorldKnobs

    ids = 8 + wanted["train"] // PER_IDENTITY  # about 18 images each
    knobs = WorldKnobs(train_ids=ids, test_ids=8 + wanted["query"] // 4, distractors=wanted["gallery"] // 2)
    dataset = Synthetic(folder, knobs)
    parts = {}
    for name, count in wanted.items():
        split = getattr(dataset, name)
        if len(split) < count:
            raise SystemExit(f"{name}: {len(split)} images were rendered, {count} are wanted")
        parts[name] = (split.tracklets[:count], split.truth.pids[:count])
    return parts


def noise(folder: Path, wanted: dict[str, int]) -> dict[str, Part]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = write_images(folder, sum(wanted.values()))
    parts, first = {}, 0
    for name, count in wanted.items():
        rows = [Tracklet((path,), n % CAMERAS, n) for n, path in enumerate(paths[first : first + count])]
        parts[name] = (rows, np.arange(count) // (4 if name == "query" else PER_IDENTITY))
        first += count
    return parts


class OurEpoch:
    """Measures the phases of this project."""

    def __init__(self, parts: dict[str, Part], args: argparse.Namespace) -> None:
        self.parts, self.args = parts, args
        self.device = torch.device(args.device)
        self.model = network(args.backbone, self.device, channels_last=True)
        self.cache = ImageCache("auto", budget_mb=8192, device=self.device)
        self.resize = Resize(tuple(args.size))
        tracklets, pids = parts["train"]
        self.labels = np.unique(pids, return_inverse=True)[1].reshape(-1)
        self.camids = np.array([tracklet.camid for tracklet in tracklets])

    def decode(self) -> float:
        """Seconds to decode everything into the cache, once a run."""
        start = now(self.device)
        for tracklets, _ in self.parts.values():
            self.cache.get([tracklet.paths[0] for tracklet in tracklets], self.resize)
        return now(self.device) - start

    def extract(self, name: str) -> tuple[Tensor, float]:
        """Features of a part, and seconds."""
        tracklets, _ = self.parts[name]
        transform = TestTransform(self.resize, channels_last=True)
        start = now(self.device)
        with ExtractLoader(
            tracklets, transform, batch_size=self.args.batch, device=self.device, cache=self.cache
        ) as loader:
            features = extract_features(
                self.model,
                loader,
                feature="embedding",
                num_samples=len(tracklets),
                device=self.device,
                amp=self.args.amp,
            )
        return features, now(self.device) - start

    def label(self, features: Tensor) -> dict[str, float]:
        """Seconds of search, graph and DBSCAN."""
        start = now(self.device)
        lists = knn(features, self.args.k1)
        searched = now(self.device)
        graph = jaccard_graph(features, k1=self.args.k1, k2=self.args.k2, radius=EPS, neighbors=lists)
        built = now(self.device)
        dbscan(graph, EPS)
        return {
            "neighbours": searched - start,
            "jaccard": built - searched,
            "dbscan": now(self.device) - built,
        }

    def batches(self, steps: int) -> EpochBatches:
        sampler = MultiCameraSampler(self.labels, self.camids, self.args.instances)
        return EpochBatches(sampler, self.args.batch, steps)

    def train(self) -> float:
        """Seconds of an epoch, from those of some steps."""
        args = self.args
        recipe = AugmentRecipe(self.resize.size)
        loader = TrainLoader(
            self.parts["train"][0],
            self.labels,
            self.batches(args.warmup + args.steps + 10),
            [TrainTransform(self.resize, recipe, channels_last=True)],
            device=self.device,
            cache=self.cache,
        )
        student: nn.Module = torch.compile(self.model) if args.compile else self.model  # type: ignore[assignment]
        trainer = trainer_loop(self.model, student, loader, self.labels, self.camids, args)
        watch = next(hook for hook in trainer.hooks if isinstance(hook, Stopwatch))
        return watch.seconds / args.steps * args.iters

    def rank(self, query: Tensor, gallery: Tensor, ids: list[np.ndarray]) -> float:
        """Seconds of distances, CMC and mAP."""
        start = now(self.device)
        cmc_map(pairwise_distance(query, gallery), *ids)
        return now(self.device) - start


def compare(parts: dict[str, Part], args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Seconds by phase, of both."""
    ours, theirs = OurEpoch(parts, args), ReferenceEpoch(args)
    paths = {name: [tracklet.paths[0] for tracklet in rows] for name, (rows, _) in parts.items()}
    ids = [parts["query"][1], parts["gallery"][1]]
    ids += [np.array([tracklet.camid for tracklet in parts[name][0]]) for name in ("query", "gallery")]
    mine = {"decode (once)": ours.decode()}
    for warm_up in (ours, theirs):  # imports, kernels, thread pools
        warm_up.label(torch.nn.functional.normalize(torch.randn(4 * args.k1, 64, device=args.device)))
    ours.extract("query")
    features, mine["extract"] = ours.extract("train")
    mine |= ours.label(features)
    mine["train"] = ours.train()
    query, query_seconds = ours.extract("query")
    gallery, gallery_seconds = ours.extract("gallery")
    mine["evaluate"] = query_seconds + gallery_seconds + ours.rank(query, gallery, ids)
    reference = {"decode (once)": 0.0, "extract": theirs.extract(paths["train"])}
    reference |= theirs.label(features)
    batches = [batch for _, batch in ours.batches(args.reference_steps).epoch(0)]
    reference["train"] = theirs.train(paths["train"], ours.labels, batches, args.iters)
    reference["evaluate"] = theirs.extract(paths["query"] + paths["gallery"]) + theirs.rank(query, gallery, ids)
    return {"ours": mine, "reference": reference}


def projection(phases: dict[str, float], args: argparse.Namespace) -> dict[str, float]:
    """Seconds of an epoch, and hours of the whole schedule with an evaluation every ten epochs."""
    epoch = sum(spent for name, spent in phases.items() if name not in ("decode (once)", "evaluate"))
    whole = phases["decode (once)"] + args.epochs * epoch + args.epochs / 10 * phases["evaluate"]
    return {"epoch_seconds": epoch, "schedule_hours": whole / 3600}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = options(__doc__.splitlines()[0], SMOKE)
    parser.add_argument("--data", type=Path, default=None, help="folder of the rendered files; default: temporary")
    for name, count in (("train", 12936), ("query", 3368), ("gallery", 19732)):
        parser.add_argument(f"--{name}", type=int, default=count, help="images")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--instances", type=int, default=16)
    parser.add_argument("--size", type=int, nargs=2, default=[256, 128])
    parser.add_argument("--iters", type=int, default=400, help="steps of an epoch")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--steps", type=int, default=100, help="of ours that are timed")
    parser.add_argument("--warmup", type=int, default=20)
    parser.add_argument("--reference-steps", type=int, default=20)
    parser.add_argument("--reference-images", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=min(8, os.cpu_count() or 1), help="of the references' loader")
    parser.add_argument("--k1", type=int, default=30)
    parser.add_argument("--k2", type=int, default=6)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--amp", choices=["off", "bf16", "fp16"], default="bf16")
    parser.add_argument("--compile", action="store_true")
    args = parse(parser, argv)
    with tempfile.TemporaryDirectory() as temporary:
        phases = compare(data(args.data or Path(temporary), args), args)
    totals = {name: projection(spent, args) for name, spent in phases.items()}
    table(
        ("", "ours s", "% of epoch", "references' s", "% of epoch", "ratio"),
        [
            (
                *(name, spent, 100 * spent / totals["ours"]["epoch_seconds"]),
                *(
                    phases["reference"][name],
                    100 * phases["reference"][name] / totals["reference"]["epoch_seconds"],
                    phases["reference"][name] / spent,
                ),
            )
            for name, spent in phases["ours"].items()
        ],
    )
    for name, total in totals.items():
        hours = total["schedule_hours"]
        print(f"{name}: {total['epoch_seconds']:.2f} s an epoch, {hours:.3f} h for {args.epochs} epochs")
    write(args, "end_to_end", {"phases": phases, "projection": totals})
    return phases


if __name__ == "__main__":
    main()
