"""Training batches: independent of workers, cache and history; corrupt images; processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from unreid.data.augment_params import AugmentRecipe
from unreid.data.batches import EpochBatches
from unreid.data.cache import ImageCache
from unreid.data.loader import TrainLoader
from unreid.data.reading import CorruptImages, Resize, read_image
from unreid.data.samplers import MultiCameraSampler, ShuffleSampler
from unreid.data.transforms import TrainTransform
from unreid.structures import Batch, Tracklet
from unreid.utils.errors import UserError

from .images import truncate, write_tracklets

SIZE = (32, 16)
LABELS = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, 2, -1, 2])


def transform(**options: object) -> TrainTransform:
    return TrainTransform(Resize(SIZE), AugmentRecipe(SIZE, padding=3, channel_jitter=0.1, **options))  # type: ignore[arg-type]


def make(tracklets: list[Tracklet], **options: object) -> TrainLoader:
    cameras = [t.camid for t in tracklets]
    batches = EpochBatches(MultiCameraSampler(LABELS, cameras, 2), 6, iters=4, seed=3)
    options = {"views": [transform(), transform().base()], "seed": 3, **options}
    return TrainLoader(tracklets, LABELS, batches, **options)  # type: ignore[arg-type]


def same(a: Batch, b: Batch) -> bool:
    return (
        all(torch.equal(x, y) for x, y in zip(a.views, b.views, strict=True))
        and torch.equal(a.indices, b.indices)
        and torch.equal(a.targets, b.targets)
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Tracklet]:
    return write_tracklets(tmp_path_factory.mktemp("images"), [1] * len(LABELS))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Tracklet]:
    return write_tracklets(tmp_path_factory.mktemp("clips"), [1, 5, 2, 7, 3, 3, 4, 9, 2, 6, 5, 4])


def test_a_batch_has_what_it_says(images: list[Tracklet]) -> None:
    with make(images) as loader:
        found = list(loader.epoch(0))
    assert len(found) == len(loader) == 4
    for batch in found:
        strong, base = batch.views
        assert strong.shape == (6, 3, 32, 16) and base.shape == (6, 3, 38, 22) and batch.clip_len == 1
        assert torch.equal(batch.targets, torch.from_numpy(LABELS)[batch.indices])
        assert batch.camids.tolist() == [images[i].camid for i in batch.indices]
        assert (batch.targets >= 0).all()


def test_pixels_are_those_of_the_per_image_transform(images: list[Tracklet]) -> None:
    with make(images) as loader:
        *_, batch = loader.epoch(2)  # step 3
    for number, view in enumerate(loader.views):
        params = view.recipe.draw(6, 3, 2, 3, number)
        for row, index in enumerate(batch.indices.tolist()):
            expected = view(read_image(images[index].paths[0]), params, row)
            torch.testing.assert_close(batch.views[number][row], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("sized_crop", [False, True])
def test_neither_workers_nor_cache_change_a_value(clips: list[Tracklet], sized_crop: bool) -> None:
    def batches(**options: object) -> list[Batch]:
        views = [transform(sized_crop=sized_crop), transform(sized_crop=sized_crop)]
        with make(clips, views=views, clip_len=3, **options) as loader:
            return [*loader.epoch(0), *loader.epoch(1)]

    plain = batches()
    assert plain[0].views[0].shape == (18, 3, 32, 16)
    assert not torch.equal(plain[0].views[0], plain[0].views[1])
    for other in (batches(workers=2), batches(cache=ImageCache("ram"))):
        assert all(same(a, b) for a, b in zip(plain, other, strict=True))


def test_a_resumed_epoch_goes_on_as_if_nothing_happened(clips: list[Tracklet]) -> None:
    with make(clips, clip_len=2, workers=1) as loader:
        whole = list(loader.epoch(1))
        broken_off = loader.epoch(1)
        next(broken_off)
        broken_off.close()
        resumed = list(loader.epoch(1, start_step=2))
    assert all(same(a, b) for a, b in zip(whole[2:], resumed, strict=True))


def test_processes_share_the_global_batch(clips: list[Tracklet]) -> None:
    with make(clips, clip_len=2) as loader:
        whole = list(loader.epoch(0))
    parts = []
    for rank in range(3):
        with make(clips, clip_len=2, rank=rank, world_size=3) as loader:
            parts.append(list(loader.epoch(0)))
    for step, batch in enumerate(whole):
        for view in range(2):
            assert torch.equal(batch.views[view], torch.cat([part[step].views[view] for part in parts]))
        assert torch.equal(batch.indices, torch.cat([part[step].indices for part in parts]))


def test_a_batch_must_be_divisible_by_the_processes(images: list[Tracklet]) -> None:
    with pytest.raises(UserError, match="TRAIN_BATCH_SIZE 6 .* 4 processes"):
        make(images, world_size=4)


def test_instance_discrimination_sees_every_image_twice(images: list[Tracklet]) -> None:
    targets = np.arange(len(images))
    batches = EpochBatches(ShuffleSampler(targets), 4, seed=1)
    with TrainLoader(images, targets, batches, [transform(), transform()], seed=1) as loader:
        found = list(loader.epoch(0))
    assert sorted(torch.cat([batch.indices for batch in found]).tolist()) == targets.tolist()
    assert all(torch.equal(batch.targets, batch.indices) for batch in found)
    assert all(not torch.equal(*batch.views) for batch in found)


def test_workers_end_with_the_loader(images: list[Tracklet]) -> None:
    import multiprocessing

    before = set(multiprocessing.active_children())
    with make(images, workers=2) as loader:
        next(loader.epoch(0))
        assert len(set(multiprocessing.active_children()) - before) == 2
    assert set(multiprocessing.active_children()) - before == set()
    with pytest.raises(ValueError, match="closed"):
        next(loader.epoch(0))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_corrupt_image_stops_the_run_and_is_named(tmp_path: Path, workers: int) -> None:
    tracklets = write_tracklets(tmp_path, [1] * len(LABELS))
    truncate(tracklets[4].paths[0])
    with make(tracklets, workers=workers) as loader, pytest.raises(UserError, match="4_0.jpg.*SKIP_CORRUPT"):
        list(loader.epoch(0))


@pytest.mark.parametrize("cached", [False, True])
def test_a_skipped_image_is_replaced_by_a_sample_of_its_cluster(tmp_path: Path, cached: bool) -> None:
    tracklets = write_tracklets(tmp_path, [1] * len(LABELS))
    truncate(tracklets[4].paths[0])
    truncate(tracklets[8].paths[0])
    policy = CorruptImages(skip=True)
    cache = ImageCache("ram", corrupt=policy) if cached else None
    with make(tracklets, corrupt=policy, cache=cache) as loader:
        found = list(loader.epoch(0))
    assert len(policy.paths) == 2
    for batch in found:
        assert not {4, 8} & set(batch.indices.tolist())
        assert torch.equal(batch.targets, torch.from_numpy(LABELS)[batch.indices])
        assert batch.targets.bincount(minlength=3).tolist() == [2, 2, 2]


def test_a_batch_of_unreadable_images_is_an_error(tmp_path: Path) -> None:
    tracklets = write_tracklets(tmp_path, [1] * len(LABELS))
    for tracklet in tracklets:
        truncate(tracklet.paths[0])
    with make(tracklets, corrupt=CorruptImages(skip=True)) as loader, pytest.raises(UserError, match="No image"):
        list(loader.epoch(0))


def test_bad_arguments(images: list[Tracklet]) -> None:
    with pytest.raises(ValueError, match="view"):
        make(images, views=[])
    with pytest.raises(ValueError, match="alike"):
        make(images, views=[transform(), transform(sized_crop=True)])
    with pytest.raises(ValueError, match="11 targets for 12"):
        TrainLoader(images, LABELS[:-1], EpochBatches(ShuffleSampler(LABELS), 4), [transform()])
