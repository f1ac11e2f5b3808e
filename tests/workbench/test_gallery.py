"""What a search in memory answers, against a loop over all images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.workbench.test_assignment import world
from unreid.evaluation.rerank import rerank_features
from unreid.utils.errors import UserError
from unreid.workbench import FeatureTable
from unreid.workbench.gallery import CANDIDATES, Cameras, TableGallery, camera_of_query, find, pids_of
from unreid.workbench.identity_table import NO_IDENTITY

CHOICES = [
    Cameras(),
    Cameras(without="c1"),
    Cameras(only=("c0", "c2")),
    Cameras(only=("x",)),
    Cameras(("c0", "c1"), "c1"),
]


def expected(table: FeatureTable, vector: np.ndarray, k: int, own: str, cameras: Cameras) -> list[tuple[str, float]]:
    unit = table.vectors / np.linalg.norm(table.vectors, axis=1, keepdims=True)
    cosine = unit @ (vector / np.linalg.norm(vector))
    found = []
    for row in np.argsort(-cosine, kind="stable"):
        camera = table.cameras[row]
        if table.paths[row] == own or (cameras.only and camera not in cameras.only) or camera == cameras.without:
            continue
        found.append((table.paths[row], float(cosine[row])))
    return found[:k]


@pytest.mark.parametrize("k", [1, 7, 1000])
@pytest.mark.parametrize("is_own", [True, False])
@pytest.mark.parametrize(
    "cameras", [Cameras(), Cameras(without="c1"), Cameras(only=("c0", "c2")), Cameras(only=("x",))]
)
def test_the_nearest_images_of_the_cameras_asked_for(k: int, is_own: bool, cameras: Cameras) -> None:
    table, pids = world()
    names = [str(pid) for pid in pids]
    for row in (0, 17):
        own, vector = table.paths[row] if is_own else "", 3 * table.vectors[row]
        hits = find(TableGallery(table, names), vector, k, own=own, cameras=cameras)
        wanted = expected(table, vector, k, own, cameras)
        assert [hit.path for hit in hits] == [path for path, _ in wanted]
        np.testing.assert_allclose([hit.score for hit in hits], [score for _, score in wanted], atol=1e-5)
        place = {path: index for index, path in enumerate(table.paths)}
        assert [hit.pid for hit in hits] == [names[place[hit.path]] for hit in hits]
        assert [hit.camera for hit in hits] == [table.cameras[place[hit.path]] for hit in hits]
        assert all(hit.vector is None for hit in hits)
    assert {hit.pid for hit in find(TableGallery(table), table.vectors[0], 3)} == {NO_IDENTITY}


@pytest.mark.parametrize("k", [3, CANDIDATES])
def test_as_many_candidates_are_reranked_with_oneself_as_without(k: int) -> None:
    """Oneself is left out before, and makes place for one more."""
    asked = []

    class Noting(TableGallery):
        def search(self, vector, k, cameras, *, vectors=False):  # type: ignore[no-untyped-def]
            asked.append((k, vectors))
            return super().search(vector, k, cameras, vectors=vectors)

    table, _ = world(ids=40)
    assert len(table) > CANDIDATES + 1
    gallery = Noting(table)
    hits = find(gallery, table.vectors[0], k, own=table.paths[0], rerank=True)
    width = max(CANDIDATES, 4 * k)
    assert asked == [(width + 1, True)]
    near = expected(table, table.vectors[0], width, table.paths[0], Cameras())
    rows = table.vectors[[table.paths.index(path) for path, _ in near]]
    unit = torch.nn.functional.normalize(torch.from_numpy(rows))
    distance = rerank_features(torch.nn.functional.normalize(torch.from_numpy(table.vectors[:1])), unit)[0]
    order = torch.argsort(distance, stable=True)[:k].tolist()
    assert [hit.path for hit in hits] == [near[i][0] for i in order]
    np.testing.assert_allclose([hit.score for hit in hits], 1 - distance[order], atol=1e-5)
    asked.clear()
    find(gallery, table.vectors[0], k, rerank=True)
    find(gallery, table.vectors[0], k)
    find(gallery, table.vectors[0], k, own="x")
    assert asked == [(width, True), (k, False), (k + 1, False)]


def test_a_single_candidate_is_not_reranked() -> None:
    table, _ = world(ids=3)
    gallery = TableGallery(FeatureTable(table.paths[:2], table.cameras[:2], table.vectors[:2], table.meta))
    (hit,) = find(gallery, table.vectors[0], 5, own=table.paths[0], rerank=True)
    assert hit.path == table.paths[1] and hit.vector is not None
    assert find(gallery, table.vectors[0], 5, cameras=Cameras(only=("x",)), rerank=True) == []


def test_cameras_and_identities_of_queries() -> None:
    assert camera_of_query("c1", True) == "c1" and camera_of_query("c1", False) == ""
    assert camera_of_query("-", True) == "" == camera_of_query("-", False)
    table, _ = world(ids=3)
    assert pids_of(table, {table.paths[1]: "anna"})[:3] == [NO_IDENTITY, "anna", NO_IDENTITY]


def test_identities_of_other_images_are_refused() -> None:
    table, _ = world(ids=2)
    assert set(pids_of(table, {})) == {NO_IDENTITY}
    with pytest.raises(UserError, match="None of the 2 images with identities is among the 12 of the feature table"):
        pids_of(table, {"elsewhere/a.jpg": "1", "elsewhere/b.jpg": "2"})
