"""The data pipeline as the config describes it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unreid.config import CfgNode, get_cfg
from unreid.data.augment_params import AugmentRecipe, ColorJitter
from unreid.data.build import (
    Place,
    build_cache,
    build_extract_loader,
    build_sampler,
    build_test_transform,
    build_train_loader,
    build_train_transform,
)
from unreid.data.samplers import IdentitySampler, MultiCameraSampler, ShuffleSampler
from unreid.structures import RoundPlan, Tracklet
from unreid.utils.errors import UserError

from .images import truncate, write_tracklets


def config(*overrides: object) -> CfgNode:
    cfg = get_cfg()
    cfg.merge_from_list(["INPUT.SIZE_TRAIN", [32, 16], "INPUT.SIZE_TEST", [32, 16], "DATALOADER.NUM_WORKERS", 0])
    cfg.merge_from_list(list(overrides))
    return cfg


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Tracklet]:
    return write_tracklets(tmp_path_factory.mktemp("images"), [1] * 12)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Tracklet]:
    return write_tracklets(tmp_path_factory.mktemp("clips"), [3, 8, 1, 5])


def test_the_default_is_the_published_train_transform() -> None:
    transform = build_train_transform(get_cfg())
    assert transform.recipe == AugmentRecipe((256, 128))
    assert transform.resize.interpolation == "bicubic" and transform.erase_fill == (0.485, 0.456, 0.406)
    base = build_train_transform(get_cfg(), "base")
    assert not base.recipe.crop and base.recipe.erase_prob == 0 and base.recipe.padding == 10


def test_every_switch_reaches_the_recipe() -> None:
    cfg = config("INPUT.DO_FLIP", False, "INPUT.REA.ENABLED", False, "INPUT.CJ.ENABLED", True)
    assert build_train_transform(cfg).recipe == AugmentRecipe(
        (32, 16), flip_prob=0, erase_prob=0, jitter=ColorJitter(0.8, 0.15, 0.15, 0.1, 0.1)
    )
    cfg = config("INPUT.RANDOM_SIZED_CROP", True, "INPUT.REA.VARIANT", "torchvision", "INPUT.CHANNEL_JITTER", 0.1)
    recipe = build_train_transform(cfg).recipe
    assert recipe.sized_crop and recipe.padding == 0 and recipe.erase_variant == "torchvision"
    assert recipe.channel_jitter == 0.1 and build_train_transform(cfg, channel_jitter=0.3).recipe.channel_jitter == 0.3
    assert build_test_transform(config("INPUT.INTERPOLATION", "bilinear")).resize.interpolation == "bilinear"


def test_the_sampler_of_the_config_or_of_the_caller() -> None:
    labels, camids = np.array([0, 0, 1, 1]), np.zeros(4, dtype=np.int64)
    cfg = config("DATALOADER.NUM_INSTANCE", 2, "DATALOADER.SAMPLER.DRAW", "cc", "DATALOADER.SAMPLER.SINGLETON", "emit")
    sampler = build_sampler(cfg, torch.from_numpy(labels), camids)
    assert isinstance(sampler, MultiCameraSampler)
    assert (sampler.num_instances, sampler.draw, sampler.singleton) == (2, "cc", "emit")
    assert isinstance(build_sampler(cfg, labels, camids, "identity"), IdentitySampler)
    assert isinstance(build_sampler(cfg, labels, camids, "shuffle"), ShuffleSampler)
    with pytest.raises(UserError, match="identity"):
        build_sampler(cfg, labels, camids, "identities")


@pytest.mark.parametrize("cache", ["ram", "off"])
def test_training_and_extraction_of_images(images: list[Tracklet], cache: str) -> None:
    cfg = config("DATALOADER.TRAIN_BATCH_SIZE", 8, "DATALOADER.NUM_INSTANCE", 2, "DATALOADER.CACHE", cache)
    kept = build_cache(cfg, "cpu")
    plan = RoundPlan(torch.arange(12) // 2, epochs=1, iters=3)
    with build_train_loader(cfg, images, plan, ("strong", "base"), place=Place(cache=kept)) as loader:
        batch = list(loader.epoch(0))[2]
    assert [view.shape for view in batch.views] == [(8, 3, 32, 16), (8, 3, 52, 36)]
    for purpose in ("cluster", "test"):
        with build_extract_loader(cfg, images, purpose=purpose, cache=kept) as extract:
            found = list(extract)
        assert torch.cat([pixels for pixels, _ in found]).shape == (12, 3, 32, 16)
    decoded = kept.get([t.paths[0] for t in images], build_test_transform(cfg).resize)
    assert (decoded is None) == (cache == "off")


def test_clips_are_read_as_the_config_says(clips: list[Tracklet]) -> None:
    cfg = config("DATALOADER.TRAIN_SEQ_LEN", 4, "DATALOADER.CLUSTER_SEQ_LEN", 2, "DATALOADER.MAX_FRAMES", 4)
    plan = RoundPlan(torch.arange(4), epochs=1, iters=1, sampler="shuffle", batch_size=2)
    with build_train_loader(cfg, clips, plan) as loader:
        (batch,) = loader.epoch(0)
    assert batch.clip_len == 4 and batch.views[0].shape == (8, 3, 32, 16)

    def owners(purpose: str, *overrides: object) -> list[int]:
        cfg.merge_from_list(list(overrides))
        with build_extract_loader(cfg, clips, purpose=purpose) as loader:
            return torch.cat([owners for _, owners in loader]).bincount().tolist()

    assert owners("cluster") == [2, 2, 2, 2]
    assert owners("test") == [3, 4, 1, 4]
    assert owners("cluster", "DATALOADER.CLUSTER_SEQ_LEN", 0) == [3, 4, 1, 4]
    assert owners("test", "DATALOADER.MAX_FRAMES", 0) == [3, 8, 1, 5]


def test_the_warm_up_is_instance_discrimination(images: list[Tracklet]) -> None:
    cfg = config("WARMUP.BATCH_SIZE", 5, "WARMUP.ITERS", 4)
    plan = RoundPlan(torch.arange(12), 1, cfg.WARMUP.ITERS, sampler="shuffle", batch_size=cfg.WARMUP.BATCH_SIZE)
    jitter = cfg.WARMUP.CHANNEL_JITTER
    with build_train_loader(cfg, images, plan, ("strong", "strong"), channel_jitter=jitter) as loader:
        found = list(loader.epoch(0))
    assert len(found) == 4 and all(len(batch) == 5 for batch in found)
    assert all(torch.equal(batch.targets, batch.indices) for batch in found)


def test_one_policy_for_corrupt_images(tmp_path_factory: pytest.TempPathFactory) -> None:
    tracklets = write_tracklets(tmp_path_factory.mktemp("corrupt"), [1] * 6)
    truncate(tracklets[3].paths[0])
    for cache in ("ram", "off"):
        with pytest.raises(UserError, match="3_0.jpg"):
            cfg = config("DATALOADER.CACHE", cache)
            with build_extract_loader(cfg, tracklets, cache=build_cache(cfg, "cpu")) as loader:
                list(loader)
        cfg = config("DATALOADER.CACHE", cache, "DATALOADER.SKIP_CORRUPT", True)
        with build_extract_loader(cfg, tracklets, cache=build_cache(cfg, "cpu")) as loader:
            assert torch.cat([owners for _, owners in loader]).tolist() == [0, 1, 2, 4, 5]
            assert loader.unreadable.tolist() == [3]


def test_unknown_names(images: list[Tracklet]) -> None:
    with pytest.raises(UserError, match="no transform named 'weak'.*base, strong"):
        build_train_transform(config(), "weak")
    with pytest.raises(ValueError, match="test, cluster"):
        build_extract_loader(config(), images, purpose="train")
