"""Camera-aware re-ranking against its definition on dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unreid.evaluation.camera_rerank import camera_rerank, camera_rerank_features
from unreid.evaluation.distance import pairwise_distance


def dense(
    q_g: np.ndarray, q_q: np.ndarray, g_g: np.ndarray, cameras: np.ndarray, sizes: dict[str, int], weight: float
) -> np.ndarray:
    """Row by row: reciprocal neighbours within the camera and across, expansion, Jaccard, mixture."""
    n, queries = len(cameras), len(q_g)
    original = np.block([[q_q, q_g], [q_g.T, g_g]])
    original = original / original.max(axis=1, keepdims=True)
    ranked = original.copy()
    np.fill_diagonal(ranked, -1)
    lists: dict[str, list[list[int]]] = {"intra": [], "inter": []}
    for i in range(n):
        order = np.argsort(ranked[i], kind="stable").tolist()
        own, others = [j for j in order if cameras[j] == cameras[i]], [j for j in order if cameras[j] != cameras[i]]
        lists["intra"].append(own + others)  # where a camera is short of rows, the nearest of the others follow
        lists["inter"].append(others + own)
    weights = np.zeros((n, n))
    for i in range(n):
        for kind, found in lists.items():
            k = sizes[f"k1_{kind}"] + 1
            for j in found[i][:k]:
                if i in found[j][:k]:
                    weights[i, j] = np.exp(-original[i, j])
    weights /= weights.sum(axis=1, keepdims=True)
    mates = [lists["intra"][i][: sizes["k2_intra"]] + lists["inter"][i][: sizes["k2_inter"]] for i in range(n)]
    expanded = np.stack([weights[mate].mean(axis=0) for mate in mates])
    shared = np.minimum(expanded[:queries, None], expanded[None, queries:]).sum(axis=2)
    return (1 - shared / (2 - shared)) * (1 - weight) + weight * original[:queries, queries:]


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("block", [None, 7])
@pytest.mark.parametrize(
    "sizes",
    [
        {"k1_intra": 2, "k1_inter": 6, "k2_intra": 2, "k2_inter": 1},
        {"k1_intra": 5, "k1_inter": 3, "k2_intra": 0, "k2_inter": 4},
        {"k1_intra": 3, "k1_inter": 9, "k2_intra": 3, "k2_inter": 0},
    ],
)
def test_it_equals_the_dense_definition(sizes: dict[str, int], block: int | None, weight: float) -> None:
    generator = torch.Generator().manual_seed(0)
    both = torch.nn.functional.normalize(torch.randn(42, 6, generator=generator), dim=1)
    cameras = torch.randint(3, (42,), generator=generator)
    query, gallery = both[:12], both[12:]
    parts = [pairwise_distance(query, gallery), pairwise_distance(query, query), pairwise_distance(gallery, gallery)]
    expected = dense(*(part.numpy().astype(float) for part in parts), cameras.numpy(), sizes, weight)  # type: ignore[arg-type]
    found = camera_rerank(*parts, cameras[:12], cameras[12:], **sizes, lambda_value=weight, block=block)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-5)
    roots = [part.sqrt() for part in parts]
    squared = camera_rerank(*roots, cameras[:12], cameras[12:], **sizes, lambda_value=weight, square_input=True)
    np.testing.assert_allclose(squared.numpy(), expected, atol=2e-4)
    features = camera_rerank_features(query, gallery, cameras[:12], cameras[12:], **sizes, lambda_value=weight)
    np.testing.assert_allclose(features.numpy(), expected, atol=2e-5)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"k1_intra": 0}, "need k1_intra, k1_inter >= 1"),
        ({"k1_inter": 0}, "need k1_intra, k1_inter >= 1"),
        ({"k2_intra": 0, "k2_inter": 0}, "one of the latter above 0"),
        ({"k2_intra": -1, "k2_inter": 3}, ">= 0"),
        ({"lambda_value": 1.5}, r"need lambda in \[0, 1\], not 1.5"),
        ({"lambda_value": -0.1}, r"need lambda in \[0, 1\]"),
    ],
)
def test_sizes_out_of_range_are_refused(wrong: dict, sentence: str) -> None:
    features, cameras = torch.eye(4), torch.tensor([0, 1, 0, 1])
    with pytest.raises(ValueError, match=sentence):
        camera_rerank_features(features, features, cameras, cameras, **wrong)
