"""Recorded cases of BUC's merging (buc manifest)."""

from __future__ import annotations

import torch

from unreid.clustering.bottom_up import merge_clusters
from unreid.utils.means import segment_means

from .cases import Case, checks


@checks("buc", "bottom_up_merge")
def check_merge(case: Case) -> None:
    arrays, params = case.arrays(), case.params
    labels = torch.from_numpy(arrays["in_labels0"])
    options = {key: params[key] for key in ("distance", "linkage") if key in params}
    sizes = [len(labels.unique())]
    for features, expected in zip(arrays["in_features"], arrays["out_labels"], strict=True):
        labels = merge_clusters(
            torch.from_numpy(features),
            labels,
            params["num_to_merge"],
            size_penalty=params["size_penalty"],
            block=32,
            **options,
        )
        assert labels.tolist() == expected.tolist()
        sizes.append(int(labels.max()) + 1)
    assert sizes == arrays["out_num_clusters"].tolist()


@checks("buc", "cluster_average")
def check_cluster_average(case: Case) -> None:
    arrays, num_clusters = case.arrays(), case.params["num_clusters"]
    labels = torch.from_numpy(arrays["in_labels"])
    for key in ("feature", "fc"):
        means, _ = segment_means(torch.from_numpy(arrays[f"in_{key}s"]), labels, num_clusters)
        expected = torch.from_numpy(arrays[f"out_{key}_avg"])
        torch.testing.assert_close(means.double(), expected, rtol=1e-5, atol=1e-6)
    assert torch.bincount(labels, minlength=num_clusters).tolist() == arrays["out_sizes"].tolist()
