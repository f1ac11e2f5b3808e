"""The data pipeline of a run, from its config."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unreid.data.augment_params import AugmentRecipe, ColorJitter
from unreid.data.batches import EpochBatches
from unreid.data.cache import ImageCache
from unreid.data.extract_loader import ExtractLoader
from unreid.data.loader import TrainLoader
from unreid.data.reading import CorruptImages, Resize
from unreid.data.samplers import SAMPLERS, Sampler
from unreid.data.transforms import TestTransform, TrainTransform
from unreid.structures import RoundPlan, Tracklet, camids_of
from unreid.utils.pixels import pixel_statistics
from unreid.utils.processors import usable_processors
from unreid.utils.registry import Registry

TRANSFORMS: Registry[Callable[[Any], TrainTransform]] = Registry("transform")
"""Train transforms, config -> transform: of the views that methods ask for, and what ``INPUT.TRANSFORM`` names."""


def build_train_transform(cfg: Any, view: str = "strong", channel_jitter: float | None = None) -> TrainTransform:
    """The transform of one view.

    Args:
        view: a name of :data:`TRANSFORMS`; ``INPUT.TRANSFORM`` takes the place of "strong".
        channel_jitter: replaces ``INPUT.CHANNEL_JITTER`` (the warm-up has its own).

    Raises:
        UserError: there is no transform of that name.
    """
    transform = TRANSFORMS.get(cfg.INPUT.TRANSFORM if view == "strong" else view)(cfg)
    if channel_jitter is None:
        return transform
    return replace(transform, recipe=replace(transform.recipe, channel_jitter=channel_jitter))


@TRANSFORMS.register("base")
def base_transform(cfg: Any) -> TrainTransform:
    """CDSM's base view: as "strong", without crop and erasing."""
    return strong_transform(cfg).base()


@TRANSFORMS.register("strong")
def strong_transform(cfg: Any) -> TrainTransform:
    """Everything that ``INPUT`` asks for: flip, pad, crop, jitter, erasing."""
    inputs = cfg.INPUT
    jitter = inputs.CJ
    mean, std = pixel_statistics(cfg)
    recipe = AugmentRecipe(
        size=tuple(inputs.SIZE_TRAIN),
        flip_prob=inputs.FLIP_PROB if inputs.DO_FLIP else 0.0,
        padding=inputs.PADDING if inputs.DO_PAD and not inputs.RANDOM_SIZED_CROP else 0,
        sized_crop=inputs.RANDOM_SIZED_CROP,
        erase_prob=inputs.REA.PROB if inputs.REA.ENABLED else 0.0,
        erase_variant=inputs.REA.VARIANT,
        jitter=ColorJitter(jitter.PROB, jitter.BRIGHTNESS, jitter.CONTRAST, jitter.SATURATION, jitter.HUE)
        if jitter.ENABLED
        else None,
        channel_jitter=inputs.CHANNEL_JITTER,
    )
    return TrainTransform(
        Resize(tuple(inputs.SIZE_TRAIN), inputs.INTERPOLATION),
        recipe,
        mean=mean,
        std=std,
        erase_fill=tuple(inputs.REA.MEAN),
        padding_mode=inputs.PADDING_MODE,
        channels_last=cfg.OPTIM.CHANNELS_LAST,
    )


def build_test_transform(cfg: Any) -> TestTransform:
    """The transform of feature extraction."""
    inputs = cfg.INPUT
    mean, std = pixel_statistics(cfg)
    return TestTransform(
        Resize(tuple(inputs.SIZE_TEST), inputs.INTERPOLATION),
        mean=mean,
        std=std,
        channels_last=cfg.OPTIM.CHANNELS_LAST,
    )


def build_corrupt(cfg: Any) -> CorruptImages:
    """The run's policy for unreadable images, to be shared by its cache and loaders."""
    return CorruptImages(skip=cfg.DATALOADER.SKIP_CORRUPT)


def build_cache(cfg: Any, device: torch.device | str) -> ImageCache:
    """The run's image cache."""
    loader = cfg.DATALOADER
    return ImageCache(loader.CACHE, loader.CACHE_MB, device, corrupt=build_corrupt(cfg))


def build_sampler(cfg: Any, labels: np.ndarray | Tensor, camids: np.ndarray, name: str | None = None) -> Sampler:
    """The sampler ``name`` (default ``DATALOADER.SAMPLER.NAME``) over the full training list.

    Raises:
        UserError: there is no sampler of that name, or nothing to sample from.
    """
    kind = SAMPLERS.get(name or cfg.DATALOADER.SAMPLER.NAME)
    return kind.from_config(cfg, np.asarray(labels), camids)


@dataclass(frozen=True)
class Place:
    """Where batches are made.

    Attributes:
        device: of the batches.
        cache: the run's cache (with its policy for unreadable images), or None.
        rank, world_size: this process and all of them, which share every batch.
    """

    device: torch.device | str = "cpu"
    cache: ImageCache | None = None
    rank: int = 0
    world_size: int = 1


def build_train_loader(
    cfg: Any,
    tracklets: Sequence[Tracklet],
    plan: RoundPlan,
    views: Sequence[str] = ("strong",),
    *,
    place: Place = Place(),
    channel_jitter: float | None = None,
    seed: int | None = None,
) -> TrainLoader:
    """The loader of a round.

    Args:
        plan: its targets, steps, sampler and batch size. ``arange(N)`` with the "shuffle" sampler and two "strong"
            views gives the batches of instance discrimination.
        views: names of the views, see :func:`build_train_transform`.
        channel_jitter, seed: replace what the config says.
    """
    loader, cache, seed = cfg.DATALOADER, place.cache, cfg.SEED if seed is None else seed
    return TrainLoader(
        tracklets,
        plan.targets,
        EpochBatches(
            build_sampler(cfg, plan.targets, camids_of(tracklets), plan.sampler),
            plan.batch_size or loader.TRAIN_BATCH_SIZE,
            plan.iters,
            seed,
        ),
        [build_train_transform(cfg, view, channel_jitter) for view in views],
        seed=seed,
        clip_len=loader.TRAIN_SEQ_LEN,
        frame_mode=loader.TRAIN_FRAMES,
        last_window=loader.LAST_WINDOW,
        device=place.device,
        workers=min(loader.NUM_WORKERS, usable_processors()),
        cache=cache,
        corrupt=cache.corrupt if cache else build_corrupt(cfg),
        rank=place.rank,
        world_size=place.world_size,
    )


def build_extract_loader(
    cfg: Any,
    tracklets: Sequence[Tracklet],
    *,
    purpose: str = "test",
    round: int = 0,
    device: torch.device | str = "cpu",
    cache: ImageCache | None = None,
    indices: Sequence[int] | np.ndarray | None = None,
) -> ExtractLoader:
    """The loader of a feature extraction.

    Args:
        purpose: "test" reads all frames (at most ``MAX_FRAMES``, evenly spaced); "cluster" a random window of
            ``CLUSTER_SEQ_LEN`` frames, or as "test" when that is 0.
        round: clustering round, changes the random windows.
        indices: positions of the tracklets to read; None: all.

    Raises:
        ValueError: an unknown purpose.
    """
    if purpose not in ("test", "cluster"):
        raise ValueError(f"unknown purpose {purpose!r}; known: test, cluster")
    loader = cfg.DATALOADER
    window = loader.CLUSTER_SEQ_LEN if purpose == "cluster" else 0
    return ExtractLoader(
        tracklets,
        build_test_transform(cfg),
        batch_size=loader.TEST_BATCH_SIZE,
        frame_mode="window" if window else "even",
        length=window or loader.MAX_FRAMES,
        last_window=loader.LAST_WINDOW,
        seed=cfg.SEED,
        round=round,
        device=device,
        workers=min(loader.NUM_WORKERS, usable_processors()),
        cache=cache,
        corrupt=cache.corrupt if cache else build_corrupt(cfg),
        indices=indices,
    )
