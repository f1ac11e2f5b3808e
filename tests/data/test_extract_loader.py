"""Streaming frames for extraction: order, chunks, workers, corrupt images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unreid.data.cache import ImageCache
from unreid.data.extract_loader import ExtractLoader
from unreid.data.frames import frame_indices
from unreid.data.reading import CorruptImages, Resize, read_image
from unreid.data.transforms import TestTransform
from unreid.structures import Tracklet
from unreid.utils.errors import UserError

from .images import truncate, write_tracklets

TRANSFORM = TestTransform(Resize((32, 16)))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Tracklet]:
    return write_tracklets(tmp_path_factory.mktemp("clips"), [1, 9, 2, 4, 3])


def read(tracklets: list[Tracklet], **options: Any) -> tuple[torch.Tensor, list[int], list[int]]:
    """Images and owners of the whole stream, and the batch sizes."""
    with ExtractLoader(tracklets, TRANSFORM, **{"batch_size": 4, **options}) as loader:
        found = list(loader)
        assert len(found) <= len(loader)
    images = torch.cat([batch for batch, _ in found])
    return images, torch.cat([owners for _, owners in found]).tolist(), [len(batch) for batch, _ in found]


def test_all_frames_come_in_order_and_long_tracklets_are_cut(clips: list[Tracklet]) -> None:
    images, owners, sizes = read(clips)
    assert owners == [0] + [1] * 9 + [2] * 2 + [3] * 4 + [4] * 3
    assert sizes == [4, 4, 4, 4, 3]
    expected = torch.stack([TRANSFORM(read_image(path)) for clip in clips for path in clip.paths])
    assert torch.equal(images, expected)


@pytest.mark.parametrize("options", [{"workers": 2}, {"cache": ImageCache("ram")}, {"batch_size": 100}])
def test_how_the_images_are_read_changes_nothing(clips: list[Tracklet], options: dict[str, Any]) -> None:
    plain = read(clips, frame_mode="window", length=3, seed=1, round=2)
    other = read(clips, frame_mode="window", length=3, seed=1, round=2, **options)
    assert torch.equal(plain[0], other[0]) and plain[1] == other[1]


def test_random_windows_depend_on_round_and_tracklet_only(clips: list[Tracklet]) -> None:
    options: dict[str, Any] = {"frame_mode": "window", "length": 2, "seed": 4}
    whole, owners, _ = read(clips, round=1, **options)
    part, part_owners, _ = read(clips, round=1, indices=[1, 3], **options)
    assert part_owners == [1, 1, 3, 3]
    assert torch.equal(part, whole[[row for row, owner in enumerate(owners) if owner in (1, 3)]])
    rounds = [read(clips, round=number, **options)[0] for number in range(6)]
    assert any(not torch.equal(rounds[0], other) for other in rounds[1:])


def test_even_frames(clips: list[Tracklet]) -> None:
    images, owners, _ = read(clips, frame_mode="even", length=3)
    assert owners == [0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4]
    chosen = frame_indices(9, "even", 3)
    assert torch.equal(images[1:4], torch.stack([TRANSFORM(read_image(clips[1].paths[i])) for i in chosen]))


def test_it_can_be_read_again(clips: list[Tracklet]) -> None:
    with ExtractLoader(clips, TRANSFORM, workers=1) as loader:
        first, second = (torch.cat([images for images, _ in loader]) for _ in range(2))
    assert torch.equal(first, second)


def test_an_unreadable_image_stops_the_extraction(tmp_path: Path) -> None:
    tracklets = write_tracklets(tmp_path, [1, 1, 1])
    truncate(tracklets[1].paths[0])
    with pytest.raises(UserError, match="1_0.jpg"):
        read(tracklets)


@pytest.mark.parametrize("options", [{}, {"cached": True}, {"workers": 1}, {"batch_size": 1}])
def test_skipped_frames_are_left_out_and_lost_tracklets_reported(tmp_path: Path, options: dict[str, Any]) -> None:
    tracklets = write_tracklets(tmp_path, [1, 3, 2, 1])
    for path in (tracklets[0].paths[0], tracklets[1].paths[1]):
        truncate(path)
    policy = CorruptImages(skip=True)
    if options.pop("cached", False):
        options["cache"] = ImageCache("ram", corrupt=policy)
    with ExtractLoader(tracklets, TRANSFORM, corrupt=policy, **options) as loader:
        owners = torch.cat([owners for _, owners in loader])
        assert owners.tolist() == [1, 1, 2, 2, 3]
        assert loader.unreadable.tolist() == [0]
    assert len(policy.paths) == 2


def test_an_empty_list_gives_an_empty_stream() -> None:
    loader = ExtractLoader([], TRANSFORM)
    assert len(loader) == 0 and list(loader) == [] and np.array_equal(loader.unreadable, [])


@pytest.mark.parametrize("mode", ["all", "even", "window"])
def test_a_process_without_a_share_reads_nothing(clips: list[Tracklet], mode: str) -> None:
    """Of more processes than tracklets some have none."""
    with ExtractLoader(clips, TRANSFORM, frame_mode=mode, length=2, indices=[]) as loader:
        assert len(loader) == 0 and list(loader) == [] and np.array_equal(loader.unreadable, [])


def test_a_batch_needs_a_size(clips: list[Tracklet]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        ExtractLoader(clips, TRANSFORM, batch_size=0)
