"""The decoded image cache: content, budget, places, corrupt images."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from unreid.data.cache import ImageCache
from unreid.data.reading import CorruptImages, Resize, read_image
from unreid.utils.errors import UserError

from ..conftest import needs_cuda
from .images import truncate, write_image

RESIZE = Resize((32, 16))


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("cached")
    return [write_image(folder / f"{number}.jpg", number) for number in range(150)]


def test_it_holds_the_resized_images_and_decodes_them_once(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ImageCache("auto", threads=2)
    cached = cache.get(paths, RESIZE)
    assert cached is not None and cached.pixels.dtype == torch.uint8 and cached.readable.all()
    for row in (0, 63, 64, 149):
        assert torch.equal(cached.pixels[row], RESIZE(read_image(paths[row])))
    monkeypatch.setattr("unreid.data.cache.read_pixels", None)
    assert cache.get(list(paths), Resize((32, 16))) is cached


def test_another_size_is_another_list(paths: list[str]) -> None:
    cache = ImageCache("ram")
    small, other = cache.get(paths[:5], RESIZE), cache.get(paths[:5], Resize((16, 16), "bilinear"))
    assert small is not None and other is not None and other.pixels.shape == (5, 3, 16, 16)


def test_the_budget_is_for_all_lists_together(paths: list[str], caplog: pytest.LogCaptureFixture) -> None:
    size = 100 * 3 * 32 * 16 / 2**20
    cache = ImageCache("auto", budget_mb=1.5 * size)
    assert cache.get(paths[:100], RESIZE) is not None
    assert cache.get(paths[50:], RESIZE) is None
    assert cache.get(paths[100:140], RESIZE) is not None
    with caplog.at_level(logging.WARNING):
        assert ImageCache("ram", budget_mb=size / 2).get(paths[:100], RESIZE) is None
    assert "CACHE_MB" in caplog.text


def test_off_keeps_nothing(paths: list[str]) -> None:
    assert ImageCache("off").get(paths, RESIZE) is None


def test_unknown_mode() -> None:
    with pytest.raises(ValueError, match="auto, ram, device, off"):
        ImageCache("disk")


@pytest.mark.parametrize("damage", ["truncated", "missing", "text", "empty"])
def test_an_unreadable_image_is_named(tmp_path: Path, damage: str) -> None:
    good, bad = write_image(tmp_path / "good.jpg", 0), write_image(tmp_path / "bad.jpg", 1)
    if damage == "truncated":
        truncate(bad)
    elif damage == "missing":
        Path(bad).unlink()
    else:
        Path(bad).write_text("no image" if damage == "text" else "")
    with pytest.raises(UserError, match="bad.jpg"):
        read_image(bad)
    with pytest.raises(UserError, match="Cannot read image .*bad.jpg.*SKIP_CORRUPT"):
        ImageCache("ram").get([good, bad], RESIZE)


def test_skipped_images_are_counted_and_marked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = [write_image(tmp_path / f"{number}.jpg", number) for number in range(4)]
    truncate(files[2])
    policy = CorruptImages(skip=True)
    with caplog.at_level(logging.WARNING):
        cached = ImageCache("ram", corrupt=policy).get(files, RESIZE)
        policy.report([files[2]])
    assert cached is not None and cached.readable.tolist() == [True, True, False, True]
    assert not cached.pixels[2].any() and policy.paths == {files[2]}
    assert len(caplog.records) == 1 and "2.jpg" in caplog.text and "1 so far" in caplog.text


def test_grey_and_palette_images_become_rgb(tmp_path: Path) -> None:
    for mode in ("L", "P", "RGBA"):
        path = tmp_path / f"{mode}.png"
        read_image(write_image(tmp_path / "source.png", 3)).convert(mode).save(path)
        assert np.asarray(read_image(str(path))).shape == (40, 20, 3)


@needs_cuda
@pytest.mark.parametrize(("mode", "place"), [("auto", "cuda"), ("device", "cuda"), ("ram", "cpu")])
def test_places_on_cuda(paths: list[str], mode: str, place: str) -> None:
    cached = ImageCache(mode, device="cuda").get(paths, RESIZE)
    assert cached is not None and cached.pixels.device.type == place
