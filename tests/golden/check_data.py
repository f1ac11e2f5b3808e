"""Samplers, frame windows and the test transform against the references.

The references draw from three global generators in an order that is theirs alone, so sampler sequences are checked by
their rules and lengths. The rules are applied to the recorded sequences too: they must accept the references' own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from unreid.data.frames import frame_indices, frame_window, largest_begin
from unreid.data.reading import Resize
from unreid.data.samplers import IdentitySampler, MultiCameraSampler, NoCameraSampler, Sampler
from unreid.data.transforms import TestTransform

from ..data.sampler_rules import check_pass
from .cases import Case, checks

ONE_GREY_LEVEL = 0.02  # "atol 0.02 (one grey level)"
PASSES = 20

VARIANTS: dict[str, tuple[type[Sampler], dict[str, Any]]] = {
    "gallery_cc": (MultiCameraSampler, {"draw": "cc", "singleton": "emit"}),
    "gallery_3c": (MultiCameraSampler, {"draw": "3c", "singleton": "skip"}),
    "gallery_nocam_cc": (NoCameraSampler, {"draw": "cc", "singleton": "emit"}),
    "gallery_nocam_3c": (NoCameraSampler, {"draw": "3c", "singleton": "skip"}),
    "identity": (IdentitySampler, {"draw": "cc", "singleton": "repeat"}),
}
LENGTHS = ("epoch_length_cc", "nominal_length")


def check_sampler(variant: str, labels: np.ndarray, camids: np.ndarray, k: int, recorded: list[np.ndarray]) -> Sampler:
    """Our passes and the recorded ones obey the same rules and are equally long."""
    kind, options = VARIANTS[variant]
    sampler = kind(labels, camids, k, **options)
    generator = np.random.default_rng(0)
    for sequence in recorded + [sampler.one_pass(generator) for _ in range(PASSES)]:
        assert len(sequence) == sampler.pass_length
        check_pass(
            sequence,
            labels,
            camids if kind is MultiCameraSampler else None,
            k,
            anchored=kind is not IdentitySampler,
            **options,
        )
    return sampler


@checks("common", "identity samplers")
def check_identity_samplers(case: Case) -> None:
    arrays = case.arrays()
    labels, camids, k = arrays["pids"], arrays["cams"], int(arrays["num_instances"])
    outputs = set(arrays) - {"pids", "cams", "num_instances"} - set(LENGTHS)
    assert outputs, "the case records no sequence"
    for variant in sorted(outputs):
        if variant not in VARIANTS:
            pytest.fail(f"no check knows the sampler {variant!r}")
        check_sampler(variant, labels, camids, k, [arrays[variant]])
    if "epoch_length_cc" in arrays:
        sampler = check_sampler("gallery_cc", labels, camids, k, [])
        assert np.all(arrays["epoch_length_cc"] == sampler.pass_length)
    if "nominal_length" in arrays:
        assert int(arrays["nominal_length"]) == k * len(np.unique(labels[labels >= 0]))


@checks("cdsm", "sampler")
def check_cdsm_sampler(case: Case) -> None:
    arrays = case.arrays()
    k = int(case.params["K"])
    sampler = check_sampler("gallery_cc", arrays["pids"], arrays["cams"], k, [arrays["example_draw"]])
    assert sampler.pass_length == int(arrays["actual_len"].item())
    assert sampler.num_clusters * k == int(arrays["declared_len"].item())


@checks("ccc", "sampler")
def check_3c_sampler(case: Case) -> None:
    arrays = case.arrays()
    labels, k = arrays["in_pids"], int(case.params["num_instances"])
    variant = "gallery_3c" if case.params["camera_aware"] else "gallery_nocam_3c"
    check_sampler(variant, labels, arrays["in_cams"], k, list(np.atleast_2d(arrays["out_example_runs"])))
    assert int(arrays["out_reported_len"]) == k * len(np.unique(labels[labels >= 0]))


@checks("auxusl", "frame_sampling")
def check_frame_sampling(case: Case) -> None:
    arrays = case.arrays()
    rows = zip(
        arrays["in_num_frames"].tolist(),
        arrays["in_seq_len"].tolist(),
        arrays["in_begin"].tolist(),
        arrays["out_largest_begin"].tolist(),
        arrays["out_indices"].tolist(),
        strict=True,
    )
    for n, length, begin, last, recorded in rows:
        expected = [index for index in recorded if index >= 0]
        assert largest_begin(n, length, last_window=False) == last
        assert frame_window(n, length, begin).tolist() == expected
        generator = np.random.default_rng(n)
        drawn = {tuple(frame_indices(n, "window", length, generator, last_window=False)) for _ in range(200)}
        assert drawn <= {tuple(frame_window(n, length, start)) for start in range(last + 1)}
        if last <= 10:
            assert tuple(expected) in drawn


@checks("common", "test transform")
def check_test_transform(case: Case) -> None:
    arrays = case.arrays()
    image = Image.fromarray(arrays["image"])
    size = (int(case.params["height"]), int(case.params["width"]))
    outputs = set(arrays) - {"image"}
    assert outputs, "the case records no output"
    for interpolation in sorted(outputs):
        transform = TestTransform(
            Resize(size, interpolation), mean=tuple(case.params["mean"]), std=tuple(case.params["std"])
        )
        np.testing.assert_allclose(transform(image).numpy(), arrays[interpolation], atol=ONE_GREY_LEVEL, rtol=0)
