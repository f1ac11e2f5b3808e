"""Recorded cases of harmonic discrepancy clustering (ccc manifest)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from unreid.clustering import hdc
from unreid.clustering.size_filter import drop_small_clusters
from unreid.structures import Clustering

from .cases import Case, checks

SIMILARITY = {"Euler Cosine": "euler_cosine", "Euclidean": "euclidean", "Cosine": "cosine"}


def _tensors(case: Case) -> dict[str, Tensor]:
    arrays = {}
    for key, value in case.arrays().items():
        whole = np.issubdtype(value.dtype, np.integer)
        arrays[key] = torch.from_numpy(np.atleast_1d(value)).to(torch.int64 if whole else torch.float64)
        if value.dtype == np.float32:
            arrays[key] = arrays[key].float()
    return arrays


def _similarity(params: dict[str, Any]) -> str:
    return SIMILARITY[params.get("similarity", "Euler Cosine")]


def _close(actual: Tensor, expected: Tensor, atol: float, rtol: float = 0.0) -> None:
    torch.testing.assert_close(actual.double(), expected.double(), atol=atol, rtol=rtol)


@checks("ccc", "distances")
def check_distances(case: Case) -> None:
    arrays = _tensors(case)
    x, y = arrays["in_X"], arrays.get("in_Y")
    tolerance = {"euler_raw": 5e-4, "euler_norm": 5e-5}
    for key, expected in arrays.items():
        if not key.startswith("out_"):
            continue
        name, form = key.removeprefix("out_").rsplit("_", 1)
        similarity = {"euler": "euler_cosine"}.get(name, name)
        actual = hdc.distance_matrix(x, y, similarity=similarity, normalize=form == "norm", block=17)
        atol = torch.full_like(expected, tolerance.get(f"{name}_{form}", 1e-5))
        if name == "euclidean" and (y is None or case.params.get("Y_is_X", False)):
            atol.fill_diagonal_(2e-3)
        assert bool(((actual - expected).abs() <= atol).all()), key


@checks("ccc", "harmonic_discrepancy")
def check_harmonic_discrepancy(case: Case) -> None:
    arrays = _tensors(case)
    labels, membership = arrays["in_labels"], arrays["in_membership"]
    num_clusters = membership.shape[1]
    disc = hdc.discrepancy_(arrays["in_dist"].clone())
    _close(disc, arrays["out_xx_disc"], 1e-6)
    own = membership.gather(1, labels.clamp(min=0).unsqueeze(1)).squeeze(1)
    hd = hdc.harmonic_discrepancy(disc.T.contiguous(), own, labels, num_clusters)
    filled = torch.bincount(labels[labels >= 0], minlength=num_clusters) > 0
    _close(hd[:, filled], arrays["out_harmonic_disc"][:, filled], 1e-6)
    assert bool((hd[:, ~filled] == 1).all())


@checks("ccc", "relocation")
def check_relocation(case: Case) -> None:
    arrays = _tensors(case)
    before, disc = arrays["in_labels"], arrays["in_label_disc"]
    labels, label_disc = hdc.relocate(before, arrays["in_label_membership"], disc, arrays["in_harmonic_disc"])
    moved = torch.nonzero(labels != before).squeeze(1)
    assert set(moved.tolist()) == set(arrays["out_moved"].tolist())
    if case.params.get("pairing_is_ascending", True):
        assert torch.equal(labels, arrays["out_labels"])
        _close(label_disc, arrays["out_label_disc"], 1e-6)
    else:
        rest = torch.ones(len(labels), dtype=torch.bool)
        rest[moved] = False
        assert torch.equal(labels[rest], arrays["out_labels"][rest])
        assert torch.equal(labels[moved].sort().values, arrays["out_labels"][moved].sort().values)
        _close(label_disc, torch.where(rest, disc, arrays["in_harmonic_disc"].gather(1, labels[:, None])[:, 0]), 1e-6)


@checks("ccc", "label_update")
def check_label_update(case: Case) -> None:
    arrays = _tensors(case)
    x, centroids, labels = arrays["in_X"], arrays["in_centroids"], arrays["in_labels"]
    similarity = _similarity(case.params)
    membership = torch.exp(-5 * hdc.distance_matrix(x, centroids, similarity=similarity))
    _close(membership, arrays["out_membership"], 1e-4)
    own = hdc.OwnConfidence(x, similarity=similarity)(centroids, labels)
    _close(own, arrays["out_membership"].gather(1, labels[:, None])[:, 0], 1e-4)
    disc = hdc.discrepancy_(arrays["in_dist"].clone())
    hd = hdc.harmonic_discrepancy(disc, own, labels, len(centroids))
    agree = (hd - arrays["out_harmonic_disc"]).abs() <= 1e-4
    assert float(agree.double().mean()) >= 0.999
    before, label_disc = hdc.assign(hd)
    if "out_labels_before_relocation" in arrays:
        assert torch.equal(before, arrays["out_labels_before_relocation"])
    after, label_disc = hdc.relocate(before, hdc.membership(hd, before), label_disc, hd)
    assert torch.equal(after, arrays["out_labels"])
    _close(label_disc, arrays["out_label_disc"], 1e-4)


@checks("ccc", "pod_centroids")
def check_peripheral_detection(case: Case) -> None:
    arrays, params = _tensors(case), case.params
    num_clusters = arrays["out_centroids"].shape[0]
    labels = hdc.detect_peripheral(
        arrays["in_labels"],
        arrays["in_label_disc"],
        num_clusters,
        n_sigma=params.get("n_sigma", 1.0),
        threshold=params.get("threshold"),
    )
    assert torch.equal(labels, arrays["out_labels_pod"])
    start = torch.zeros_like(arrays["out_centroids"])
    normalize = bool(params.get("normalize_centroid", False))
    centroids = hdc.update_centroids(start, arrays["in_X"], labels, None, normalize=normalize)
    _close(centroids, arrays["out_centroids"], 1e-6)


@checks("ccc", "kmeanspp2")
def check_kmeanspp2(case: Case) -> None:
    arrays = _tensors(case)
    indices = hdc.kmeanspp_on_matrix(arrays["in_dist"], int(arrays["in_first_index"]), arrays["in_uniforms"])
    assert torch.equal(indices, arrays["out_indices"])
    assert torch.equal(arrays["in_dist"][:, indices].argmin(1), arrays["out_labels"])


@checks("ccc", "hdc_fit")
def check_fit(case: Case) -> None:
    arrays, params = _tensors(case), case.params
    x, similarity = arrays["in_X"], _similarity(params)
    dist = arrays.get("in_dist")
    if dist is None:
        dist = hdc.distance_matrix(x, similarity=similarity)
    centroids = arrays["in_init_centroids"] if "in_init_centroids" in arrays else x[arrays["in_init_indices"]]
    known = ("max_iter", "min_iter", "n_tol", "n_sigma", "threshold", "normalize_centroid")
    options = hdc.HDCOptions(similarity=similarity, **{key: params[key] for key in known if key in params})
    states = list(hdc.iterate(x, dist, arrays["in_init_labels"], centroids, options))
    last = states[-1]
    assert len(states) == int(arrays["out_n_iter"])
    assert torch.equal(last.core_labels, arrays["out_labels_outlier"])
    assert torch.equal(last.labels, arrays["out_labels_no_outlier"])
    assert torch.equal(torch.stack([state.core_labels for state in states]), arrays["out_labels_pod_per_iter"])
    _close(last.centroids, arrays["out_centroids"], 1e-5)
    shifts = torch.tensor([state.shift for state in states], dtype=torch.float64)
    _close(shifts, arrays["out_shifts"], 1e-8, 1e-3)


@checks("ccc", "min_instances_filter")
def check_size_filter(case: Case) -> None:
    arrays = _tensors(case)
    found = Clustering(arrays["in_labels"], len(arrays["in_centroids"]), centroids=arrays["in_centroids"])
    kept = drop_small_clusters(found, case.params["min_instances"])
    assert torch.equal(kept.labels, arrays["out_labels"])
    assert kept.num_clusters == int(arrays["out_num_clusters"])
    assert kept.centroids is not None
    _close(torch.nn.functional.normalize(kept.centroids, dim=1), arrays["out_memory"], 1e-6)
