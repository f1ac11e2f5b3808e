"""Training images per second: the whole loop against the bare network, in one run.

    python benchmarks/train_step.py [--batch 256 --size 256 128] [--amp bf16] [--compile] [--cudnn-benchmark] [--json]

- bare: forward, backward and optimiser step on one resident batch.
- resident: the trainer with memory, update, loss guard and scalars, on one resident batch.
- loop: the same on real batches: cached uint8 images, augmentation on the device, prefetch.
- loader: the batches alone.

The ratio loop / bare is what the project promises (0.9). On CUDA the operations that made the host wait for the device
are counted over some steps, with the line that caused them.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import numpy as np
import torch
from gpu import fused_adam, network, now, options, parse, table, write
from loader import write_images
from torch import Tensor, nn

from unreid.data.augment_params import AugmentRecipe
from unreid.data.batches import EpochBatches
from unreid.data.cache import ImageCache
from unreid.data.loader import TrainLoader
from unreid.data.reading import Resize
from unreid.data.samplers import MultiCameraSampler
from unreid.data.transforms import TrainTransform
from unreid.engine.data import Features
from unreid.engine.hooks import Hook, LossGuard, ScalarHook
from unreid.engine.precision import Precision
from unreid.engine.rounds import RoundGuard
from unreid.engine.trainer import Builders, Trainer
from unreid.memory import ClusterMemory
from unreid.methods import ClusterContrast, Setup
from unreid.structures import Batch, Clustering, StepOutput, Tracklet
from unreid.utils.events import EventStorage, JsonWriter

SMOKE = {
    **{"batch": 16, "instances": 4, "size": [32, 16], "images": 64, "steps": 4, "warmup": 2},
    **{"backbone": "resnet_tiny", "amp": "off"},
}
CAMERAS, FILES, PERIOD = 6, 256, 50


def steps_of(args: argparse.Namespace) -> int:
    """Steps of an epoch: on CUDA some more, in which waits are counted."""
    return args.warmup + args.steps + (10 if args.device.startswith("cuda") else 1)


class GivenLabels(ClusterContrast):
    """Cluster Contrast on fixed labels and random features: clustering has a benchmark of its own."""

    given: Tensor

    def label(self, round: int, extract: Any) -> Clustering:
        features = torch.randn(len(self.given), self.memory.dim, device=self.camids.device)
        return Clustering(self.given, int(self.given.max()) + 1, features=nn.functional.normalize(features))


class Stopwatch(Hook):
    """Seconds between two steps of the run."""

    def __init__(self, first: int, last: int, device: torch.device) -> None:
        self.first, self.last, self.device = first, last, device

    def after_step(self, output: StepOutput) -> None:
        if self.trainer.state.global_step == self.first:
            self._start = now(self.device)
        if self.trainer.state.global_step == self.last:
            self.seconds = now(self.device) - self._start


class SyncCounter(Hook):
    """Where the host waits for the device between two steps of the run."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self.found: Counter[str] = Counter()

    def after_step(self, output: StepOutput) -> None:
        step = self.trainer.state.global_step
        if step == self.first:
            self._catch = warnings.catch_warnings(record=True)
            self._caught = self._catch.__enter__()
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
        elif step == self.last:
            torch.cuda.set_sync_debug_mode("default")
            self._catch.__exit__(None, None, None)
            self.found.update(
                f"{warning.filename}:{warning.lineno}" for warning in self._caught if "synchron" in str(warning.message)
            )


class ResidentLoader:
    """The same batch in every step."""

    def __init__(self, batch: Batch, steps: int) -> None:
        self.batch, self.steps = batch, steps

    def __len__(self) -> int:
        return self.steps

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        return itertools.repeat(self.batch, self.steps - start_step)

    def close(self) -> None:
        """Nothing is open."""


def bare_loop(model: nn.Module, images: Tensor, args: argparse.Namespace) -> float:
    """Seconds of ``args.steps`` steps of the network alone."""
    optimizer, precision = fused_adam(model), Precision(args.amp, device=images.device)
    direction = None
    model.train()
    for step in range(args.warmup + args.steps):
        if step == args.warmup:
            start = now(images.device)
        with precision.autocast():
            embedding = model(images).embedding
        if direction is None:  # a fixed linear loss: as good as no work
            direction = torch.randn_like(embedding, dtype=torch.float32)
        optimizer.zero_grad(set_to_none=True)
        precision.backward_and_step((embedding.float() * direction).mean(), optimizer, model)
    return now(images.device) - start


def trainer_loop(
    model: nn.Module, student: Any, loader: Any, labels: np.ndarray, camids: np.ndarray, args: argparse.Namespace
) -> Trainer:
    """Runs warm-up, measured steps and, on CUDA, the steps whose synchronisations are counted.

    Args:
        model: the network; ``student`` the same or its compiled form.
        loader: gives enough batches.
        labels, camids: int64 (N,), of the training list.
    """
    device = torch.device(args.device)
    total = steps_of(args)
    method = GivenLabels(
        Setup(model, torch.from_numpy(camids).to(device), epochs=1, iters=total),
        memory=ClusterMemory(model.feature_dim, device=device),
        parts=[],
        batch_size=args.batch,
        num_instances=args.instances,
    )
    method.given = torch.from_numpy(labels)
    method.student = student
    counter = [SyncCounter(args.warmup + args.steps + 1, total - 1)] if device.type == "cuda" else []
    guards = [LossGuard(period=PERIOD, checkpoint=""), ScalarHook(period=PERIOD)]
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            method=method,
            warmup=None,
            builders=Builders(
                loader=lambda plan, views, is_warmup: loader,
                extract=lambda encoder, feature, round: Features(torch.empty(0), torch.empty(0, dtype=torch.int64)),
                optimizer=lambda: fused_adam(model),
                learning_rate=lambda epoch: 3.5e-4,
            ),
            guard=RoundGuard(1),
            precision=Precision(args.amp, device=device),
            storage=EventStorage([JsonWriter(folder)]),
            hooks=[*guards, Stopwatch(args.warmup, args.warmup + args.steps, device), *counter],
        )
        trainer.train()
    return trainer


class World:
    """A training list of small JPEG files, every one several times, and its loader."""

    def __init__(self, folder: Path, args: argparse.Namespace) -> None:
        files = write_images(folder, min(FILES, args.images))
        self.args = args
        self.labels = np.arange(args.images) // args.instances
        self.camids = np.arange(args.images) % CAMERAS
        self.tracklets = [
            Tracklet((files[number % len(files)],), int(camid), number) for number, camid in enumerate(self.camids)
        ]
        self.cache = ImageCache("auto", device=args.device)

    def loader(self) -> TrainLoader:
        size = tuple(self.args.size)
        sampler = MultiCameraSampler(self.labels, self.camids, self.args.instances)
        return TrainLoader(
            self.tracklets,
            self.labels,
            EpochBatches(sampler, self.args.batch, steps_of(self.args)),
            [TrainTransform(Resize(size), AugmentRecipe(size), channels_last=True)],
            device=self.args.device,
            cache=self.cache,
        )


def loader_loop(loader: TrainLoader, args: argparse.Namespace) -> float:
    """Seconds of the batches alone."""
    device = torch.device(args.device)
    for step, _ in enumerate(loader.epoch(0)):
        if step == args.warmup:
            start = now(device)
        if step == args.warmup + args.steps:
            return now(device) - start
    raise AssertionError("an epoch is longer than that")


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = options(__doc__.splitlines()[0], SMOKE)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--instances", type=int, default=16)
    parser.add_argument("--size", type=int, nargs=2, default=[256, 128])
    parser.add_argument("--images", type=int, default=12936)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--warmup", type=int, default=20)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--amp", choices=["off", "bf16", "fp16"], default="bf16")
    parser.add_argument("--compile", action="store_true", help="torch.compile the network, bare and in the loop")
    parser.add_argument("--cudnn-benchmark", action="store_true", help="let cuDNN choose by timing; not deterministic")
    args = parse(parser, argv)
    device = torch.device(args.device)
    torch.backends.cudnn.benchmark = args.cudnn_benchmark
    torch.backends.cudnn.deterministic = not args.cudnn_benchmark  # as runs are
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), args)
        model = network(args.backbone, device, channels_last=True)
        student = torch.compile(model) if args.compile else model
        loader = world.loader()
        batch = next(iter(loader.epoch(0)))
        times = {"bare": bare_loop(student, batch.views[0], args), "loader": loader_loop(loader, args)}
        trainers = {
            name: trainer_loop(model, student, source, world.labels, world.camids, args)
            for name, source in (("resident", ResidentLoader(batch, len(loader))), ("loop", loader))
        }
    syncs: dict[str, int] = {}
    for name, trainer in trainers.items():
        times[name] = next(hook for hook in trainer.hooks if isinstance(hook, Stopwatch)).seconds
        for hook in trainer.hooks:
            syncs |= hook.found if isinstance(hook, SyncCounter) else {}
    rates = {name: args.steps * args.batch / spent for name, spent in times.items()}
    order = ("bare", "resident", "loop", "loader")
    table(
        ("", "images/s", "ms/step", "of bare"),
        [(name, rates[name], 1e3 * times[name] / args.steps, rates[name] / rates["bare"]) for name in order],
    )
    if device.type == "cuda":
        print(f"host waits in 8 steps: {dict(syncs) or 'none'}")
    result = {"images_per_second": rates, "loop_of_bare": rates["loop"] / rates["bare"], "host_waits": dict(syncs)}
    write(args, "train_step", result)
    return result


if __name__ == "__main__":
    main()
