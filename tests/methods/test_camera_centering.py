"""``CLUSTER.CAMERA_CENTERED`` under every method: what is clustered is centred, what is learnt from is not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.methods.test_constraints import FEATURE_METHODS, GRAPH_METHODS, SMALL
from tests.methods.toys import DIM, toy_method
from unreid.evaluation import cluster_report
from unreid.utils.errors import UserError

N = 48
CAMIDS = torch.arange(N) % 2
PEOPLE = torch.arange(N) // 12
CENTERED = ("CLUSTER.CAMERA_CENTERED", True)
METHODS = {**GRAPH_METHODS, **FEATURE_METHODS}


def two_cameras() -> Tensor:
    """Unit features of four people, farther apart between the cameras than between people."""
    generator = torch.Generator().manual_seed(3)
    people = 0.5 * torch.randn(4, DIM, generator=generator)
    noise = 0.06 * torch.randn(N, DIM, generator=generator)
    cameras = 2 * torch.eye(DIM)[:2]
    return F.normalize(people[PEOPLE] + noise + cameras[CAMIDS], dim=1)


def crossing(overrides: tuple[Any, ...]) -> float:
    method = toy_method(*SMALL, *overrides, camids=CAMIDS)
    labels = method.cluster(two_cameras(), 0).labels
    return cluster_report(labels, PEOPLE, CAMIDS)["cross_camera_recall"]


@pytest.mark.parametrize("name", METHODS)
def test_people_are_found_across_cameras(name: str) -> None:
    assert crossing((*METHODS[name], *CENTERED)) > max(0.4, crossing(METHODS[name]) + 0.3)


@pytest.mark.parametrize("name", ["Cluster Contrast", "3C, HDC"])
def test_the_memory_starts_from_the_features_as_they_are(name: str) -> None:
    method = toy_method(*SMALL, *METHODS[name], *CENTERED, camids=CAMIDS)
    features = two_cameras()
    clustering = method.cluster(features, 0)
    assert clustering.features is features and clustering.centroids is None


def test_bottom_up_merging_is_centred_too() -> None:
    own = ("METHOD.NAME", "BUC", "MEMORY.NAME", "ExclusiveTable", "METHOD.BUC.MERGE_PERCENT", 0.45)

    def pairs(*more: Any) -> float:
        method = toy_method(*own, *more, camids=CAMIDS)
        method.label(0, lambda feature: two_cameras())
        labels = method.label(1, lambda feature: two_cameras()).labels
        return cluster_report(labels, PEOPLE, CAMIDS)["cross_camera_recall"]

    assert pairs() == 0.0 and pairs(*CENTERED) > 0.0


@pytest.mark.parametrize("name", ["Cluster Contrast", "3C, k-means"])
def test_one_camera_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="all 48 training samples count as one camera: name the cameras"):
        toy_method(*SMALL, *METHODS[name], *CENTERED, camids=torch.full((N,), 3))
