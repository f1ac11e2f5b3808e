"""The same numbers on a CUDA device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.conftest import needs_cuda
from unreid.evaluation.distance import METRICS, DistanceBlocks, pairwise_distance
from unreid.evaluation.metrics import cmc_map
from unreid.evaluation.rerank import rerank, rerank_features
from unreid.evaluation.selection import simplified_silhouette

from .oracle import random_test_set
from .test_extract import Toy, frames

pytestmark = needs_cuda


@pytest.mark.parametrize("levels", [0, 3])
def test_scores_equal_those_on_the_cpu(levels) -> None:
    dist, *ids = random_test_set(0, queries=30, gallery=300, levels=levels)
    options = {"single_gallery_shot": True, "generator": torch.Generator().manual_seed(1)}
    for extra in ({}, {"first_match_break": False}, {"separate_camera_set": True}, options):
        there = cmc_map(torch.from_numpy(dist).cuda(), *ids, **extra)
        options["generator"].manual_seed(1)
        here = cmc_map(dist, *ids, **extra)
        options["generator"].manual_seed(1)
        np.testing.assert_allclose(there.cmc, here.cmc, atol=1e-12)
        np.testing.assert_allclose(there.ap, here.ap, atol=1e-12)


def test_distances_ignore_tf32() -> None:
    torch.set_float32_matmul_precision("high")
    try:
        x, y = torch.randn(40, 512), torch.randn(50, 512)
        for metric in METRICS:
            there = pairwise_distance(x.cuda(), y.cuda(), metric)
            torch.testing.assert_close(there.cpu(), pairwise_distance(x, y, metric), atol=1e-3, rtol=1e-5)
    finally:
        torch.set_float32_matmul_precision("highest")


def test_reranking_equals_that_on_the_cpu_and_repeats() -> None:
    generator = torch.Generator().manual_seed(0)
    query, gallery = torch.randn(20, 8, generator=generator), torch.randn(200, 8, generator=generator)
    blocks = [pairwise_distance(a, b) for a, b in ((query, gallery), (query, query), (gallery, gallery))]
    here = rerank(*blocks, k1=10, k2=3)
    there = rerank(*(block.cuda() for block in blocks), k1=10, k2=3)
    torch.testing.assert_close(there.cpu(), here, atol=1e-5, rtol=0)
    assert torch.equal(there, rerank(*(block.cuda() for block in blocks), k1=10, k2=3))
    assert rerank_features(query.cuda(), gallery.cuda(), k1=10).is_cuda


def test_extraction_repeats_exactly() -> None:
    from unreid.evaluation.extract import extract_features

    model, images, owners = Toy().cuda(), frames(64), torch.arange(64) // 16
    runs = [
        extract_features(
            model, [(images, owners)], feature="embedding", num_samples=4, device="cuda", flip=True, amp=amp
        )
        for amp in ("off", "off", "bf16", "fp16")
    ]
    assert torch.equal(runs[0], runs[1]) and all(run.dtype == torch.float32 for run in runs)
    torch.testing.assert_close(runs[2], runs[0], atol=0.05, rtol=0.05)


def test_silhouette_and_blocks_stay_on_the_device() -> None:
    x, labels = torch.randn(50, 6), torch.arange(50) % 5 - 1
    assert simplified_silhouette(x.cuda(), labels) == pytest.approx(simplified_silhouette(x, labels), abs=1e-5)
    assert DistanceBlocks(x.cuda(), x.cuda())(slice(0, 4)).is_cuda
