"""Transforms: distribution of the drawn parameters, and one image against a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from unreid.data.augment_params import AugmentParams, AugmentRecipe, ColorJitter, sized_crop_box
from unreid.data.color import ADJUSTMENTS
from unreid.data.erasing import draw_erase_boxes
from unreid.data.reading import Resize
from unreid.data.transforms import IMAGENET_MEAN, IMAGENET_STD, TestTransform, TrainTransform

from ..conftest import needs_cuda

SIZE = (24, 12)
RECIPES = {
    "published": {},
    "no flip": {"flip_prob": 0.0},
    "no padding": {"padding": 0},
    "no crop": {"crop": False},
    "no erasing": {"erase_prob": 0.0},
    "torchvision erasing": {"erase_variant": "torchvision", "erase_prob": 1.0},
    "channel jitter": {"channel_jitter": 0.25},
    "colour jitter": {"jitter": ColorJitter(0.7, 0.4, 0.4, 0.4, 0.4)},
}


def make(options: dict[str, Any], **more: Any) -> TrainTransform:
    return TrainTransform(Resize(SIZE), AugmentRecipe(SIZE, **{"padding": 3, **options}), **more)


def pixels(n: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, *SIZE), dtype=torch.uint8)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("padding_mode", ["constant", "reflect", "edge"])
def test_a_batch_equals_its_images_one_by_one(name: str, padding_mode: str) -> None:
    transform = make(RECIPES[name], padding_mode=padding_mode)
    images, params = pixels(40), transform.recipe.draw(40, 1, 2, 3, 0)
    batch = transform.apply_batch(images, params)
    singles = torch.stack([transform.apply_one(image, params, row) for row, image in enumerate(images)])
    if name == "colour jitter":
        torch.testing.assert_close(batch, singles, atol=5e-5, rtol=0)
    else:
        assert torch.equal(batch, singles)


@needs_cuda
@pytest.mark.parametrize("name", RECIPES)
def test_cuda_agrees_with_cpu(name: str) -> None:
    transform = make(RECIPES[name])
    images, params = pixels(40), transform.recipe.draw(40, 1, 2, 3, 0)
    on_device = transform.apply_batch(images.cuda(), params)
    torch.testing.assert_close(on_device.cpu(), transform.apply_batch(images, params), atol=5e-5, rtol=0)


def test_the_published_pipeline_in_torchvision_terms() -> None:
    """Flip, zero padding, crop, ToTensor, Normalize, then the erasing fill in normalised units."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 25, 3), dtype=np.uint8))
    transform = make({})
    params = AugmentParams(np.array([True]), offset=np.array([[5, 1]]), erase=np.array([[2, 3, 8, 4]]))
    x = v2.functional.horizontal_flip(image.resize((12, 24), Image.Resampling.BICUBIC))
    x = v2.functional.crop(v2.functional.pad(x, 3), 5, 1, 24, 12)
    x = v2.functional.normalize(
        v2.functional.to_dtype(v2.functional.pil_to_tensor(x), scale=True), IMAGENET_MEAN, IMAGENET_STD
    )
    x[:, 2:10, 3:7] = torch.tensor(IMAGENET_MEAN)[:, None, None]
    assert torch.equal(transform(image, params), x)


def test_the_base_view_keeps_the_padding_and_is_never_erased() -> None:
    transform = make({"erase_prob": 1.0, "flip_prob": 0.0})
    base = transform.base()
    images = pixels(5)
    out = base.apply_batch(images, base.recipe.draw(5, 0, 0, 0, 1))
    assert out.shape == (5, 3, 30, 18)
    plain = TestTransform(Resize(SIZE)).apply_batch(images)
    assert torch.equal(out[:, :, 3:-3, 3:-3], plain)
    black = (torch.zeros(3) - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    torch.testing.assert_close(out[:, :, 0, :], black.view(1, 3, 1).expand(5, 3, 18))


def test_channels_last_changes_the_layout_only() -> None:
    images = pixels(4)
    for transform in (make({}), TestTransform(Resize(SIZE))):
        extra = (make({}).recipe.draw(4, 0, 0, 0, 0),) if isinstance(transform, TrainTransform) else ()
        plain = transform.apply_batch(images, *extra)
        other = replace(transform, channels_last=True).apply_batch(images, *extra)
        assert other.is_contiguous(memory_format=torch.channels_last) and torch.equal(plain, other)


@pytest.mark.parametrize("kind", range(4))
def test_colour_adjustments_agree_with_torchvision(kind: int) -> None:
    functional = (
        v2.functional.adjust_brightness,
        v2.functional.adjust_contrast,
        v2.functional.adjust_saturation,
        v2.functional.adjust_hue,
    )[kind]
    images = torch.rand(6, 3, 8, 5)
    images[0] = 0.5  # grey: no hue
    images[1] = 0
    factors = torch.tensor([0.3, 0.5, -0.4, 0.25, -0.1, 0.5]) if kind == 3 else torch.tensor([0, 0.5, 1, 1.5, 2, 0.9])
    expected = torch.stack([functional(image, float(factor)) for image, factor in zip(images, factors)])
    torch.testing.assert_close(ADJUSTMENTS[kind](images, factors), expected, atol=1e-5, rtol=0)


def test_parameters_are_a_pure_function_of_their_keys() -> None:
    recipe = AugmentRecipe(SIZE, sized_crop=True, channel_jitter=0.1, jitter=ColorJitter())
    one, two = recipe.draw(8, 1, 2, 3, 0), recipe.draw(8, 1, 2, 3, 0)
    for name in AugmentParams.__dataclass_fields__:
        assert np.array_equal(getattr(one, name), getattr(two, name))
    for keys in ((2, 2, 3, 0), (1, 3, 3, 0), (1, 2, 4, 0), (1, 2, 3, 1)):
        assert not np.array_equal(recipe.draw(8, *keys).channel, one.channel)
    assert np.array_equal(one.rows(slice(2, 5)).channel, one.channel[2:5])
    without = replace(recipe, erase_prob=0.0).draw(8, 1, 2, 3, 0)
    assert without.erase is None and np.array_equal(without.offset, one.offset)


def test_the_kinds_are_drawn_independently_of_each_other() -> None:
    """From streams of their own: no kind says anything about another one."""
    recipe = AugmentRecipe(SIZE, padding=3, sized_crop=True, channel_jitter=0.2, jitter=ColorJitter(prob=0.5))
    params = recipe.draw(20000, 0, 0, 0, 0)
    assert params.erase is not None and params.jitter is not None and params.jitter_factor is not None
    kinds = {
        "flip": params.flip[:, None],
        "offset": params.offset,
        "erased": params.erase[:, 2:3] > 0,
        "channel": params.channel.reshape(20000, -1),  # type: ignore[union-attr]
        "sized crop": params.sized_crop.reshape(20000, -1),  # type: ignore[union-attr]
        "jittered": params.jitter[:, None],
        "jitter": params.jitter_factor,
    }
    columns = np.concatenate([np.asarray(values, dtype=float) for values in kinds.values()], axis=1)
    owner = np.repeat(np.arange(len(kinds)), [values.shape[1] for values in kinds.values()])  # type: ignore[union-attr]
    found = np.abs(np.corrcoef(columns.T))
    assert found[owner[:, None] != owner].max() < 0.04


def test_distribution_of_flips_offsets_and_channel_jitter() -> None:
    params = AugmentRecipe(SIZE, padding=3, channel_jitter=0.2).draw(20000, 0, 0, 0, 0)
    assert abs(params.flip.mean() - 0.5) < 0.02
    share = np.bincount((params.offset @ [7, 1]), minlength=49) / 20000
    assert len(share) == 49 and np.abs(share - 1 / 49).max() < 0.006
    gain, shift = params.channel[:, 0], params.channel[:, 1]
    for values, middle in ((gain, 1.0), (shift, 0.0)):
        assert abs(values.mean() - middle) < 0.005 and values.min() > middle - 0.2 and values.max() < middle + 0.2
        assert abs(values.std() - 0.4 / 12**0.5) < 0.003


def slow_erase_box(rng: np.random.Generator, height: int, width: int, variant: str) -> tuple[int, int, int, int]:
    """One box, try by try, as the references draw it."""
    for _ in range(100 if variant == "zhong" else 10):
        area = rng.uniform(0.02, 0.4) * height * width
        ratio = rng.uniform(0.3, 1 / 0.3) if variant == "zhong" else np.exp(rng.uniform(np.log(0.3), -np.log(0.3)))
        h, w = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if h < height and w < width:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    return 0, 0, 0, 0


@pytest.mark.parametrize("variant", ["zhong", "torchvision"])
@pytest.mark.parametrize("size", [(64, 32), (30, 40)])
def test_erase_boxes_are_distributed_as_the_references_draw_them(variant: str, size: tuple[int, int]) -> None:
    n = 6000
    boxes = draw_erase_boxes(np.random.default_rng(0), n, *size, prob=1.0, variant=variant)
    rng = np.random.default_rng(1)
    slow = np.array([slow_erase_box(rng, *size, variant) for _ in range(n)])
    for quantile in (0.1, 0.25, 0.5, 0.75, 0.9):
        assert np.abs(np.quantile(boxes, quantile, axis=0) - np.quantile(slow, quantile, axis=0)).max() <= 1.5
    assert (boxes[:, 2] < size[0]).all() and (boxes[:, 3] < size[1]).all()
    assert (boxes[:, 0] + boxes[:, 2] <= size[0]).all() and (boxes[:, 1] + boxes[:, 3] <= size[1]).all()


def test_erasing_probability_and_impossible_boxes() -> None:
    erased = draw_erase_boxes(np.random.default_rng(0), 20000, 64, 32, prob=0.5)[:, 2] > 0
    assert abs(erased.mean() - 0.5) < 0.02
    assert not draw_erase_boxes(np.random.default_rng(0), 50, 1, 1, prob=1.0)[:, 2:].all(axis=1).any()
    for variant in ("zhong", "torchvision"):  # wide images: every box of that area is too high
        none = draw_erase_boxes(np.random.default_rng(0), 50, 8, 64, prob=1.0, variant=variant, area=(0.9, 0.9))
        assert not none.any()
    with pytest.raises(ValueError, match="zhong"):
        draw_erase_boxes(np.random.default_rng(0), 1, 8, 8, prob=1.0, variant="cutout")


def test_sized_crops_have_the_area_and_shape_of_buc() -> None:
    rng = np.random.default_rng(0)
    boxes = [sized_crop_box(rng.random((10, 4)), 128, 64) for _ in range(500)]
    found = np.array([box for box in boxes if box is not None])
    assert len(found) > 490
    share, ratio = found[:, 2] * found[:, 3] / (128 * 64), found[:, 2] / found[:, 3]
    assert share.min() > 0.62 and share.max() <= 1 and ratio.min() > 1.95 and ratio.max() < 3.05
    assert (found[:, 0] + found[:, 2] <= 128).all() and (found[:, 1] + found[:, 3] <= 64).all()
    assert sized_crop_box(rng.random((10, 4)), 20, 400) is None


def test_a_sized_crop_is_cut_before_the_resize() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 50, 3), dtype=np.uint8))
    uniforms = np.random.default_rng(1).random((10, 4))
    top, left, h, w = sized_crop_box(uniforms, 100, 50) or pytest.fail("no box")
    expected = image.crop((left, top, left + w, top + h)).resize((12, 24), Image.Resampling.BILINEAR)
    assert np.array_equal(Resize(SIZE, "bilinear")(image, uniforms).permute(1, 2, 0), np.asarray(expected))


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="padding mode"):
        make({}, padding_mode="wrap")
    with pytest.raises(ValueError, match="recipe"):
        TrainTransform(Resize((10, 10)), AugmentRecipe(SIZE))
    with pytest.raises(ValueError, match="interpolation"):
        Resize(SIZE, "nearest")
