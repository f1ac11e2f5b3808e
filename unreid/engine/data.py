"""The data of a run: what is trained on, what is evaluated on, and how both are read."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from unreid.constraints import record_keys
from unreid.data.build import Place, build_extract_loader, build_train_loader
from unreid.data.cache import ImageCache
from unreid.data.datasets import build_dataset, train_view
from unreid.data.datasets.base import DATASETS, ReIDDataset
from unreid.data.joint import JointLoader
from unreid.data.loader import TrainLoader
from unreid.data.streams import Stream, stream_generator
from unreid.evaluation.extract import extract_features
from unreid.structures import GroundTruth, RoundPlan, Tracklet, camids_of
from unreid.utils.distributed import (
    all_gather_rows,
    broadcast_buffers,
    first_of_node,
    get_rank,
    get_world_size,
)
from unreid.utils.errors import DivergedError, UserError
from unreid.utils.progress import task, tracked

if TYPE_CHECKING:
    from unreid.config import CfgNode

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """The labelled side of domain adaptation.

    Attributes:
        tracklets: S records; their cameras follow those of the training list.
        labels: int64 (S,), identities 0..C-1.
    """

    tracklets: list[Tracklet]
    labels: Tensor


@dataclass
class Data:
    """An unlabelled training list, its truth (for diagnostics only), the test sets, and the training list's keys.

    ``source`` is a labelled list beside it, of other datasets, or None.
    """

    tracklets: list[Tracklet]
    truth: GroundTruth | None
    tests: list[ReIDDataset]
    keys: list[str] = field(default_factory=list)
    source: Source | None = None


@dataclass(frozen=True)
class Datasets:
    """The datasets of a config by their part in it; one that has two parts is one object."""

    train: list[ReIDDataset]
    tests: list[ReIDDataset]
    sources: list[ReIDDataset]

    @property
    def all(self) -> list[ReIDDataset]:
        """Each once."""
        return list({id(dataset): dataset for dataset in (*self.train, *self.tests, *self.sources)}.values())


def read_datasets(cfg: CfgNode, train: bool = True) -> Datasets:
    """Parses the datasets of the config, each once; without ``train`` only the test sets.

    One process of every machine goes first: what a dataset renders on its first use is there for the others.

    Raises:
        UserError: a dataset is named twice or cannot be read, or a source is a training set too.
    """
    names = _distinct("DATASETS.NAMES", cfg.DATASETS.NAMES) if train else []
    tests = _distinct("DATASETS.TESTS", cfg.DATASETS.TESTS or cfg.DATASETS.NAMES)
    sources = _distinct("DATASETS.SOURCES", cfg.DATASETS.SOURCES) if train else []
    _distinct("DATASETS.NAMES and DATASETS.SOURCES", names + sources)  # the target's labels are nobody's business
    with first_of_node():
        found = {name: build_dataset(name, cfg) for name in dict.fromkeys(names + tests + sources)}
    return Datasets(*([found[name] for name in part] for part in (names, tests, sources)))


def build_data(cfg: CfgNode, train: bool = True) -> Data:
    """What a run reads. No image of a test set is trained on, whichever training set lists it.

    Raises:
        UserError: see :func:`read_datasets`; nothing is left to train on, the camera embedding has too few rows, or a
            source has no identities.
    """
    datasets = read_datasets(cfg, train)
    tracklets: list[Tracklet] = []
    truth = None
    if train:
        with task("reading the datasets"):
            for dataset in datasets.all:
                dataset.log_statistics()
            tracklets, truth = train_view(datasets.train, cfg.SEED, datasets.all)
        if (truth.pids < 0).all():
            truth = None
    cameras = 1 + max((t.camid for t in tracklets), default=-1)
    source = read_source(datasets.sources, cfg.SEED, datasets.all, cameras) if datasets.sources else None
    testable = []
    for dataset in datasets.tests:
        if dataset.has_test:
            testable.append(dataset)
        else:
            logger.warning("%s has no query and gallery: its evaluation is skipped", dataset.name)
    if cfg.MODEL.BACKBONE.CAMERAS:
        splits = [split for dataset in testable for split in (dataset.query, dataset.gallery)]
        lists = [tracklets, source.tracklets if source else [], *(split.tracklets for split in splits)]
        check_cameras(cfg.MODEL.BACKBONE.CAMERAS, lists)
    keys = record_keys(tracklets, [dataset.folder for dataset in datasets.train])
    return Data(tracklets, truth, testable, keys, source)


def read_source(sources: list[ReIDDataset], seed: int, tests: list[ReIDDataset], first_camera: int) -> Source:
    """The records of the source datasets whose identity is known, and these identities.

    Args:
        tests: sets whose query and gallery are kept out of training.

    Raises:
        UserError: no record has an identity.
    """
    view = train_view(sources, seed, tests)
    labels = torch.from_numpy(view.truth.pids)
    known = torch.nonzero(labels >= 0).flatten()
    if not len(known):
        raise UserError(f"DATASETS.SOURCES {', '.join(d.name for d in sources)} holds no identity to learn from.")
    records = [view.tracklets[i] for i in known.tolist()]
    return Source([replace(t, camid=t.camid + first_camera) for t in records], labels[known])


def _distinct(key: str, names: list[str]) -> list[str]:
    """The names, each of another dataset: one that is named twice (also by an alias) would count twice."""
    found: dict[type[ReIDDataset], str] = {}
    for name in names:
        before = found.setdefault(DATASETS.get(name), name)
        if list(names).count(name) > 1 or before != name:
            raise UserError(f"{key} names one dataset twice: {before} and {name}.")
    return list(names)


def check_cameras(rows: int, lists: list[list[Tracklet]]) -> None:
    """Raises ``UserError`` unless a camera embedding of ``rows`` rows has one for every record's camera."""
    cameras = 1 + max((tracklet.camid for tracklets in lists for tracklet in tracklets), default=-1)
    if cameras > rows:
        raise UserError(
            f"The data have {cameras} cameras and MODEL.BACKBONE.CAMERAS is {rows}: set it to {cameras} or more, or to "
            "0 for no camera embedding."
        )


@dataclass(frozen=True)
class Features:
    """Features of a list of N samples.

    Attributes:
        values: float32 (N, D) on the device; zeros for a sample that could not be read.
        unreadable: int64 on the CPU, positions of those samples.
    """

    values: Tensor
    unreadable: Tensor


class Extraction:
    """Extracts features of a list of samples: each process its share, put together in order."""

    def __init__(self, cfg: CfgNode, device: torch.device, cache: ImageCache | None = None) -> None:
        self.cfg = cfg
        self.device = device
        self.cache = cache

    def __call__(
        self, encoder: nn.Module, tracklets: list[Tracklet], feature: str, *, round: int | None = None
    ) -> Features:
        """The features of ``tracklets``, the same on every process.

        Args:
            round: of clustering (clips of ``DATALOADER.CLUSTER_SEQ_LEN`` frames); None: evaluation, all frames.

        Raises:
            DivergedError: features are NaN or infinite, which would go on as labels or scores.
        """
        broadcast_buffers(encoder)
        rank, world = get_rank(), get_world_size()
        share = np.arange(len(tracklets) * rank // world, len(tracklets) * (rank + 1) // world)
        loader = build_extract_loader(
            self.cfg,
            tracklets,
            purpose="test" if round is None else "cluster",
            round=max(round or 0, 0),
            device=self.device,
            cache=self.cache,
            indices=share,
        )
        with loader:
            first = int(share[0]) if len(share) else 0
            batches = tracked(loader, "features", loader.frames, "images", size=lambda batch: len(batch[1]))
            features = extract_features(
                encoder,
                ((images, owners - first) for images, owners in batches),
                feature=feature,
                num_samples=len(share),
                device=self.device,
                flip=self.cfg.TEST.FLIP and round is None,
                amp=self.cfg.TEST.AMP,
                camids=torch.from_numpy(camids_of(tracklets)[share]) if self.cfg.MODEL.BACKBONE.CAMERAS else None,
            )
            missing = torch.from_numpy(loader.unreadable)
        unreadable = all_gather_rows(missing.to(self.device)).cpu()
        features = all_gather_rows(features)
        bad = int((~torch.isfinite(features.sum(dim=1))).sum())
        if bad:
            raise DivergedError(
                f"The features of {bad} of {len(tracklets)} samples are not finite, so the network has diverged; lower "
                "OPTIM.LR or set OPTIM.CLIP_GRAD, and with TEST.AMP fp16 try bf16 or off."
            )
        return Features(features, unreadable)


def round_loader(
    cfg: CfgNode,
    tracklets: list[Tracklet],
    plan: RoundPlan,
    views: tuple[str, ...],
    *,
    device: torch.device,
    cache: ImageCache | None,
    channel_jitter: float | None = None,
    whole: bool = False,
    source: Source | None = None,
) -> TrainLoader | JointLoader:
    """The loader of a round; this process's share of every batch, or the ``whole`` batches.

    With a ``source`` every batch has one of the source beside it, in its own random order.
    """
    place = Place(device, cache) if whole else Place(device, cache, get_rank(), get_world_size())
    target = build_train_loader(cfg, tracklets, plan, views, place=place, channel_jitter=channel_jitter)
    if source is None:
        return target
    seed = int(stream_generator(Stream.SOURCE, cfg.SEED).integers(2**63))
    size = target.batches.batch_size
    beside = replace(plan, targets=source.labels, iters=len(target), sampler=None, batch_size=size)
    return JointLoader(target, build_train_loader(cfg, source.tracklets, beside, views, place=place, seed=seed))
