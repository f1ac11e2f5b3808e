"""Recorded Jaccard distances and the label rules of the DBSCAN family."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from unreid.clustering import dbscan
from unreid.clustering.agreement import agreement
from unreid.clustering.overlap import with_own_labels
from unreid.clustering.self_paced import self_paced_labels
from unreid.neighbors import jaccard_graph
from unreid.neighbors.jaccard import MAX_RADIUS
from unreid.structures import PairGraph
from unreid.utils.means import segment_means

from .cases import Case, checks

BACKENDS = ("scipy", "torch")
HALF_PRECISION = 5e-3  # what float16 sums of the reference may be off by (0.004 in its own measurement)


def graph_of(matrix: np.ndarray) -> PairGraph:
    """The pair graph of a recorded symmetric matrix, up to everything below 1."""
    i, j = np.triu_indices(len(matrix), 1)
    near = matrix[i, j] < 1
    pairs = (torch.from_numpy(part[near]) for part in (i, j))
    self_dist = torch.from_numpy(np.diag(matrix).copy())
    return PairGraph(len(matrix), *pairs, torch.from_numpy(matrix[i, j][near]), MAX_RADIUS, self_dist)


def centroids(features: np.ndarray, labels: Tensor) -> Tensor:
    return normalize(segment_means(torch.from_numpy(features), labels, int(labels.max()) + 1)[0], dim=1)


def blend(features: np.ndarray, jaccard: np.ndarray, weight: float) -> np.ndarray:
    """CDSM's unused ``lambda_value``: the squared distance by column maximum mixed in; not a part of the package."""
    x = features.astype(np.float64)
    square = ((x[:, None, :] - x[None, :, :]) ** 2).sum(-1)
    return (1 - weight) * jaccard + weight * square / square.max(axis=0)


def assert_close_but_for_a_few(actual: np.ndarray, expected: np.ndarray, atol: float) -> None:
    """``atol``; at most 0.01 % of the entries may differ by more, none by more than 1e-3."""
    difference = np.abs(actual - expected)
    assert (difference > atol).mean() <= 1e-4 and difference.max() <= max(1e-3, atol)


@checks("common", "k-reciprocal Jaccard distance, DBSCAN labels, cluster centroids")
def check_distances_labels_and_centroids(case: Case) -> None:
    params, arrays = case.params, case.arrays()
    features = arrays["features"]
    for name in (key for key in arrays if key.startswith("jaccard_")):
        tag = name.removeprefix("jaccard_")
        half = bool(params.get("use_float16")) or "16" in tag
        weight = float(params.get("lambda_value", 0) or 0)
        for backend in BACKENDS:
            settings = {"k1": params["k1"], "k2": params["k2"], "k1_includes_self": not tag.startswith("3c")}
            graph = jaccard_graph(torch.from_numpy(features), radius=MAX_RADIUS, backend=backend, **settings)
            dense = graph.to_dense().numpy()
            if weight:
                dense = blend(features, dense, weight)
            assert_close_but_for_a_few(dense, arrays[name], HALF_PRECISION if half else 2e-5)
            if half:  # the rounding of the recorded distances may decide: label those
                graph = graph_of(arrays[name].astype(np.float32))
            check_labels(params, arrays, tag, dense if weight else graph)


def check_labels(params: dict[str, Any], arrays: dict[str, np.ndarray], tag: str, distances: Any) -> None:
    for name in (key for key in arrays if key.startswith(f"labels_{tag}_eps")):
        suffix = name.removeprefix("labels_")
        eps = int(name.rpartition("eps")[2]) / 1000
        if isinstance(distances, PairGraph):
            labels = dbscan(distances, eps, params["min_samples"])[0]
        else:  # a blend is asymmetric, which only the dense algorithm knows
            from sklearn.cluster import DBSCAN

            found = DBSCAN(eps=eps, min_samples=params["min_samples"], metric="precomputed").fit_predict(distances)
            labels = torch.from_numpy(found)
        np.testing.assert_array_equal(labels.numpy(), arrays[name])
        if f"centroids_{suffix}" in arrays:
            expected = arrays[f"centroids_{suffix}"]
            np.testing.assert_allclose(centroids(arrays["features"], labels).numpy(), expected, rtol=0, atol=1e-5)


@checks("ccc", "jaccard")
def check_3c_distance(case: Case) -> None:
    arrays = case.arrays()
    for backend in BACKENDS:
        settings = {"k1": case.params["k1"], "k2": case.params["k2"], "k1_includes_self": False}
        graph = jaccard_graph(torch.from_numpy(arrays["in_features"]), radius=MAX_RADIUS, backend=backend, **settings)
        np.testing.assert_allclose(graph.to_dense().numpy(), arrays["out_jaccard"], rtol=0, atol=2e-6)


@checks("ccc", "dbscan_warmup")
def check_3c_warmup(case: Case) -> None:
    params, arrays = case.params, case.arrays()
    recorded = graph_of(arrays["in_jaccard"])
    settings = {"k1": params["k1"], "k2": params["k2"], "k1_includes_self": False}
    built = jaccard_graph(torch.from_numpy(arrays["in_features"]), radius=params["eps"], **settings)
    for graph in (recorded, built):
        labels = dbscan(graph, params["eps"], params["min_samples"])[0]
        np.testing.assert_array_equal(labels.numpy(), arrays["out_labels"])
    rows = centroids(arrays["in_features"], labels)
    np.testing.assert_allclose(rows.numpy(), arrays["out_memory"], rtol=0, atol=2e-6)


@checks("auxusl", "jaccard")
def check_raw_feature_distance(case: Case) -> None:
    arrays = case.arrays()
    for backend in BACKENDS:
        settings = {"k1": case.params["k1"], "k2": case.params["k2"], "radius": MAX_RADIUS}
        graph = jaccard_graph(torch.from_numpy(arrays["in_features"]), backend=backend, **settings)
        np.testing.assert_allclose(graph.to_dense().numpy(), arrays["out_jaccard"], rtol=1e-3, atol=2e-4)


@checks("cdsm", "reliability")
def check_reliabilities(case: Case) -> None:
    arrays = {key: torch.from_numpy(value) for key, value in case.arrays().items()}
    labels, tight, loose = (arrays[key] for key in ("labels", "labels_tight", "labels_loose"))
    count = int(labels.max()) + 1
    found = agreement(labels, tight, loose, count)
    for name, recorded in (("comp", "R_comp"), ("indep", "R_indep")):
        torch.testing.assert_close(found[f"r_{name}"], arrays[recorded], rtol=0, atol=1e-6)
        torch.testing.assert_close(found[f"thr_{name}"], arrays[f"cluster_{recorded}"], rtol=0, atol=1e-6)
    kept = (labels >= 0).nonzero()[:, 0]
    assert torch.equal(with_own_labels(labels), arrays["labels_full"])
    assert torch.equal(kept, arrays["kept_index"]) and torch.equal(labels[kept], arrays["kept_label"])

    paced = self_paced_labels(labels, tight, loose)
    for actual, recorded in (
        (paced.r_comp, "spcl_R_comp"),
        (paced.r_indep, "spcl_R_indep"),
        (paced.id_comp, "spcl_cluster_R_comp"),
        (paced.id_indep, "spcl_cluster_R_indep"),
    ):
        torch.testing.assert_close(actual.float(), arrays[recorded], rtol=0, atol=1e-6)
    np.testing.assert_allclose(paced.threshold, arrays["spcl_indep_thres"].item(), rtol=0, atol=1e-6)
    assert torch.equal(paced.labels, arrays["spcl_labels"])


@checks("spcl", "self_paced_labels")
def check_self_paced_labels(case: Case) -> None:
    arrays = {key: torch.from_numpy(np.atleast_1d(value)) for key, value in case.arrays().items()}
    threshold = case.params.get("threshold_given")
    labelings = (arrays[key] for key in ("in_labels", "in_labels_tight", "in_labels_loose"))
    paced = self_paced_labels(*labelings, threshold=threshold)
    for actual, recorded in (
        (paced.r_comp, "out_r_comp"),
        (paced.r_indep, "out_r_indep"),
        (paced.id_comp, "out_cluster_r_comp"),
        (paced.id_indep, "out_cluster_r_indep"),
    ):
        torch.testing.assert_close(actual, arrays[recorded].double(), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(paced.threshold, arrays["out_threshold"].item(), rtol=1e-6, atol=1e-6)
    assert torch.equal(paced.labels, arrays["out_labels"])
    assert int(paced.released.sum()) == int(arrays["out_num_released"])
