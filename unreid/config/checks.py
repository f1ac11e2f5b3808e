"""Settings that must agree with each other; a single value is the business of its declaration in ``keys/``.

Each check takes the whole tree and yields sentences about what contradicts what; the first one is said.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from unreid.utils.registry import fold

Check = Callable[[Any], Iterator[str]]
CHECKS: list[Check] = []


def check(function: Check) -> Check:
    CHECKS.append(function)
    return function


@check
def batch_holds_whole_groups(cfg: Any) -> Iterator[str]:
    """PK samplers fill a batch with groups of NUM_INSTANCE samples."""
    batch, group = cfg.DATALOADER.TRAIN_BATCH_SIZE, cfg.DATALOADER.NUM_INSTANCE
    if fold(cfg.DATALOADER.SAMPLER.NAME) != "shuffle" and batch % group:
        yield (
            f"DATALOADER.TRAIN_BATCH_SIZE ({batch}) must be a multiple of DATALOADER.NUM_INSTANCE ({group}), "
            "because a batch is made of whole groups."
        )


@check
def batch_splits_into_bn_chunks(cfg: Any) -> Iterator[str]:
    """BN chunks are equal parts of what goes through the network at once, and statistics need two samples."""
    chunks = cfg.MODEL.BN_CHUNKS
    groups = {"DATALOADER.TRAIN_BATCH_SIZE": cfg.DATALOADER.TRAIN_BATCH_SIZE}
    if cfg.OPTIM.SUB_BATCH:
        groups["OPTIM.SUB_BATCH"] = cfg.OPTIM.SUB_BATCH
    if cfg.WARMUP.EPOCHS:
        groups["2 * WARMUP.BATCH_SIZE"] = 2 * cfg.WARMUP.BATCH_SIZE  # every image in two views
    for name, samples in groups.items():
        if samples % chunks:
            yield f"{name} ({samples}) must be a multiple of MODEL.BN_CHUNKS ({chunks})."
        if samples // chunks < 2:
            yield f"{name} ({samples}) over MODEL.BN_CHUNKS ({chunks}) must leave 2 samples or more to each BatchNorm."


@check
def batch_splits_into_sub_batches(cfg: Any) -> Iterator[str]:
    """Sub-batches are equal parts of the batch."""
    batch, part = cfg.DATALOADER.TRAIN_BATCH_SIZE, cfg.OPTIM.SUB_BATCH
    if part and batch % part:
        yield f"DATALOADER.TRAIN_BATCH_SIZE ({batch}) must be a multiple of OPTIM.SUB_BATCH ({part})."


@check
def one_kind_of_bn(cfg: Any) -> Iterator[str]:
    """Chunks want smaller statistics, SyncBN larger ones."""
    if cfg.MODEL.SYNC_BN and cfg.MODEL.BN_CHUNKS > 1:
        yield f"MODEL.SYNC_BN and MODEL.BN_CHUNKS ({cfg.MODEL.BN_CHUNKS}) exclude each other: switch one off."


@check
def domains_without_synchronised_bn(cfg: Any) -> Iterator[str]:
    """SyncBN knows no halves of a batch."""
    if cfg.MODEL.SYNC_BN and cfg.MODEL.DOMAIN_BN:
        yield "MODEL.SYNC_BN and MODEL.DOMAIN_BN exclude each other: switch one off."


@check
def recalibration_without_cameras(cfg: Any) -> Iterator[str]:
    """The batches that BN statistics are re-estimated from are images alone."""
    if cfg.MODEL.RECALIBRATE_BN and cfg.MODEL.BACKBONE.CAMERAS:
        yield "MODEL.RECALIBRATE_BN does not work with MODEL.BACKBONE.CAMERAS > 0: set one of them to 0."


def _is_jaccard(cfg: Any) -> bool:
    return bool(fold(cfg.CLUSTER.METRIC).endswith("jaccard"))


@check
def jaccard_radius_below_one(cfg: Any) -> Iterator[str]:
    """The pair graph holds no pair without a common neighbour: their Jaccard distance is 1."""
    if _is_jaccard(cfg) and cfg.CLUSTER.EPS >= 1:
        metric = cfg.CLUSTER.METRIC
        yield (
            f"CLUSTER.EPS ({cfg.CLUSTER.EPS}) must be below 1 with CLUSTER.METRIC {metric}, whose largest value is 1."
        )


@check
def expansion_within_neighbourhood(cfg: Any) -> Iterator[str]:
    """Query expansion averages over the first K2 of the K1 neighbours."""
    problems = [
        f"{where}.K2 ({node.K2}) must not exceed {where}.K1 ({node.K1})."
        for where, node in (("CLUSTER", cfg.CLUSTER), ("TEST.RERANK", cfg.TEST.RERANK))
        if node.K2 > node.K1
    ]
    yield " ".join(problems)


@check
def schedule_steps(cfg: Any) -> Iterator[str]:
    """``step`` has one period; milestones grow."""
    steps = cfg.OPTIM.STEPS
    if fold(cfg.OPTIM.SCHED) == "step" and len(steps) != 1:
        yield f"OPTIM.STEPS ({steps}) must hold one period with OPTIM.SCHED step; several milestones are multistep."
    if fold(cfg.OPTIM.SCHED) == "multistep" and any(b <= a for a, b in zip(steps, steps[1:])):
        yield f"OPTIM.STEPS ({steps}) must grow with OPTIM.SCHED multistep."


@check
def nesterov_needs_momentum(cfg: Any) -> Iterator[str]:
    """Nesterov's step is a look ahead along the momentum."""
    if fold(cfg.OPTIM.OPT) == "sgd" and cfg.OPTIM.NESTEROV and cfg.OPTIM.MOMENTUM == 0:
        yield "OPTIM.NESTEROV needs OPTIM.MOMENTUM above 0."


@check
def hdc_on_its_own_distances(cfg: Any) -> Iterator[str]:
    """HDC takes what the pair graph does not hold for the largest distance, which only Jaccard has."""
    names = {fold(cfg.CLUSTER.NAME), fold(cfg.CLUSTER.WARMUP.NAME)}
    if "hdc" in names and cfg.CLUSTER.HDC.USE_JACCARD and not _is_jaccard(cfg):
        yield (
            f"CLUSTER.NAME HDC reads Jaccard distances, not CLUSTER.METRIC {cfg.CLUSTER.METRIC}: set it to jaccard, or "
            "CLUSTER.HDC.USE_JACCARD False for the distances of CLUSTER.HDC.SIMILARITY."
        )


@check
def tight_radius_above_zero(cfg: Any) -> Iterator[str]:
    """Agreement and self-paced DBSCAN also cluster at EPS - EPS_GAP."""
    node = cfg.CLUSTER
    if fold(node.NAME) in ("agreementdbscan", "selfpaceddbscan") and node.EPS_GAP >= node.EPS:
        yield f"CLUSTER.EPS_GAP ({node.EPS_GAP}) must be below CLUSTER.EPS ({node.EPS}) with CLUSTER.NAME {node.NAME}."


@check
def frames_grow(cfg: Any) -> Iterator[str]:
    """The fewest images of a rendered tracklet come first."""
    low, high = cfg.DATASETS.SYNTHETIC_VIDEO.FRAMES
    if low > high:
        yield f"DATASETS.SYNTHETIC_VIDEO.FRAMES ([{low}, {high}]) must name the fewest images first."


@check
def reflection_within_image(cfg: Any) -> Iterator[str]:
    """An image has no pixel to show beyond its own mirror image."""
    padding, sides = cfg.INPUT.PADDING, cfg.INPUT.SIZE_TRAIN
    if cfg.INPUT.PADDING_MODE == "reflect" and cfg.INPUT.DO_PAD and padding >= min(sides):
        yield f"INPUT.PADDING ({padding}) must be below both sides of INPUT.SIZE_TRAIN ({sides}) with reflect."


@check
def standardized_images_have_pixels(cfg: Any) -> Iterator[str]:
    """One pixel has no deviation to divide by."""
    for key, size in (("INPUT.SIZE_TRAIN", cfg.INPUT.SIZE_TRAIN), ("INPUT.SIZE_TEST", cfg.INPUT.SIZE_TEST)):
        if cfg.MODEL.STANDARDIZE and size == [1, 1]:
            yield f"{key} ({size}) must have more than one pixel with MODEL.STANDARDIZE."


@check
def batches_fit_into_memory(cfg: Any) -> Iterator[str]:
    """The float32 images of one step; what the network makes of them takes several times as much."""
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    for batch_key, batch, size_key, (height, width) in (
        ("DATALOADER.TRAIN_BATCH_SIZE", cfg.DATALOADER.TRAIN_BATCH_SIZE, "INPUT.SIZE_TRAIN", cfg.INPUT.SIZE_TRAIN),
        ("DATALOADER.TEST_BATCH_SIZE", cfg.DATALOADER.TEST_BATCH_SIZE, "INPUT.SIZE_TEST", cfg.INPUT.SIZE_TEST),
    ):
        needed = batch * 3 * height * width * 4 / 2**30
        if needed > gigabytes:
            yield (
                f"{batch_key} ({batch}) images of {size_key} ([{height}, {width}]) take {needed:.0f} GiB alone, and "
                f"this machine has {gigabytes:.0f} GiB: lower one of them."
            )
