"""Identities from vectors: confidence, threshold, assignment, the choice of eps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from unreid.config import load_config
from unreid.utils.errors import UserError
from unreid.workbench import FeatureMeta, FeatureTable, IdentityTable
from unreid.workbench.assignment import assign_table, calibrate
from unreid.workbench.confidence import confidences, fit
from unreid.workbench.gallery import Cameras, TableGallery, find
from unreid.workbench.grouping import by_size, cluster_table, radii, takes_eps


def world(ids: int = 12, images: int = 6, noise: float = 0.5, seed: int = 0) -> tuple[FeatureTable, np.ndarray]:
    rng = np.random.default_rng(seed)
    pids = np.repeat(np.arange(ids), images)
    centers = np.random.default_rng(7).normal(size=(100, 32))[:ids]
    x = centers[pids] + noise * rng.normal(size=(len(pids), 32))
    paths = [f"{pid:03}/{seed}_{number:03}.jpg" for number, pid in enumerate(pids)]
    cameras = [f"c{number % 3}" for number in range(len(pids))]
    return FeatureTable(paths, cameras, x.astype(np.float32), FeatureMeta("/data", "m", "f", unreadable=[])), pids


def test_confidence_takes_the_images_own_share_out() -> None:
    table, pids = world(ids=5)
    x, labels = torch.from_numpy(table.vectors), torch.from_numpy(pids).clone()
    labels[0], labels[-1] = -1, 5  # nobody's, and one alone
    found = confidences(x, labels)
    unit = normalize(x)
    i = 8
    mates = (labels == labels[i]) & (torch.arange(len(x)) != i)
    a = (unit[i] - normalize(unit[mates].sum(0), dim=0)).norm()
    means = [normalize(unit[labels == other].sum(0), dim=0) for other in range(6) if other != labels[i]]
    b = min((unit[i] - mean).norm() for mean in means)
    assert found[i].item() == pytest.approx(max(0, (b - a) / max(a, b)).item(), abs=1e-4)
    assert found[0] == found[-1] == 0 and float(found.min()) >= 0 and float(found.max()) <= 1
    for block in (1, 7):
        assert torch.equal(fit(x, labels, block=block).own, fit(x, labels).own)


def test_the_threshold_balances_both_mistakes() -> None:
    table, pids = world(ids=40, noise=1.2)
    found = calibrate(torch.from_numpy(table.vectors), torch.from_numpy(pids))
    assert abs(found["false_unknown"] - found["false_known"]) < 0.02 and 0 < found["cosine"] < 1
    assert calibrate(torch.eye(3), torch.tensor([0, 0, 0]))["cosine"] == 0


@pytest.mark.parametrize("ids", [2, 3, 9])
def test_the_threshold_is_where_both_mistakes_are_equally_frequent(ids: int) -> None:
    """Among all similarities that occur; two identities are enough."""
    table, pids = world(ids=ids, noise=1.5)
    x, labels = torch.from_numpy(table.vectors), torch.from_numpy(pids)
    unit = normalize(x)
    own, other = [], []
    for i, label in enumerate(labels.tolist()):
        means = [
            normalize(unit[(labels == one) & (torch.arange(len(x)) != i)].sum(0), dim=0)
            for one in range(int(max(pids)) + 1)
        ]
        cosine = [float(unit[i] @ mean) for mean in means]
        own.append(cosine.pop(label))
        other.append(max(cosine))
    found = calibrate(x, labels)
    mistakes = [
        (abs(np.mean(np.array(own) < value) - np.mean(np.array(other) >= value)), value) for value in own + other
    ]
    assert found["false_unknown"] == pytest.approx(np.mean(np.array(own) < found["cosine"] - 1e-6), abs=1e-6)
    assert found["false_known"] == pytest.approx(np.mean(np.array(other) > found["cosine"] - 1e-6), abs=1e-6)
    assert abs(found["false_unknown"] - found["false_known"]) == pytest.approx(min(mistakes)[0], abs=1e-6)


def test_an_image_alone_in_its_identity_says_nothing_about_the_threshold() -> None:
    table, pids = world(ids=30, noise=1.0)
    x, labels = torch.from_numpy(table.vectors), torch.from_numpy(pids)
    few = torch.randn(200, x.shape[1], generator=torch.Generator().manual_seed(0))
    x, labels = torch.cat((x, few)), torch.cat((labels, 30 + torch.arange(200)))
    found = calibrate(x, labels)
    own = fit(x, labels).own[labels < 30]
    assert found["false_unknown"] == pytest.approx(float((own < found["cosine"]).double().mean()))


def test_an_image_alone_in_its_identity_has_no_confidence() -> None:
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [-1.0, -1.0]])  # far from everybody else
    assert confidences(x, torch.tensor([0, 0, 1, 1, 2])).tolist() == [1, 1, 1, 1, 0]


def test_images_that_the_identities_do_not_list_are_passed_over_wherever_they_stand() -> None:
    known, pids = world(ids=6)
    kept = np.arange(len(pids))[::-1][: len(pids) // 2 + 3]
    names = [str(pids[row]) for row in kept]
    table = IdentityTable(
        [known.paths[row] for row in kept], [known.cameras[row] for row in kept], names, np.ones(len(kept), np.float32)
    )
    new, truth = world(ids=6, images=2, seed=1)
    found = assign_table(new, known, table, threshold=-1.0)
    listed = {int(name) for name in names}
    assert all(pid == str(true) for pid, true in zip(found.pids, truth.tolist()) if true in listed)


def test_new_crops_find_their_identity_and_strangers_none() -> None:
    known, pids = world(ids=10)
    identities = cluster_table(known, load_config(None, ["CLUSTER.K1", 8, "CLUSTER.K2", 2]), sweep=(0.4, 0.5))
    new, truth = world(ids=14, images=2, seed=1)  # four of them are strangers
    found = assign_table(new, known, identities)
    of = {pid: identities.pids[int(np.flatnonzero(pids == pid)[0])] for pid in range(10)}
    assert [of.get(pid, "-1") for pid in truth.tolist()] == found.pids
    assert all((pid == "-1") == (sure == 0) for pid, sure in zip(found.pids, found.confidences))
    everyone = assign_table(new, known, identities, threshold=-1.0)
    assert "-1" not in everyone.pids
    with pytest.raises(UserError, match="give the table that they were clustered from"):
        assign_table(new, new, identities)


def test_the_eps_with_the_best_score_is_taken_and_recorded() -> None:
    table, pids = world()
    cfg = load_config(None, ["CLUSTER.K1", 10, "CLUSTER.K2", 3])
    found = cluster_table(table, cfg, sweep=(0.05, 0.5, 0.6), source="features.npz")
    tries = found.meta["sweep"]
    assert found.meta["eps"] == max(tries, key=lambda one: one["score"])["eps"] and len(tries) == 3
    labels, names = found.labels
    assert len(names) == 12 and len(set(zip(labels.tolist(), pids.tolist()))) == 12
    assert found.meta["clusterer"] == {"CLUSTER.NAME": "DBSCAN", "CLUSTER.K1": 10, "CLUSTER.K2": 3}


def test_other_clusterers_and_distances() -> None:
    table, _ = world()
    assert not takes_eps(load_config(None, ["CLUSTER.NAME", "KMeans"]))
    cfg = load_config(None, ["CLUSTER.NAME", "KMeans", "CLUSTER.NUM_CLUSTERS", 12])
    assert len(cluster_table(table, cfg).labels[1]) == 12
    cosine = load_config(None, ["CLUSTER.METRIC", "cosine"])
    tried = radii(table, cosine)
    assert len(tried) > 1 and list(tried) == sorted(tried)
    assert len(cluster_table(table, cosine, sweep=tried).labels[1]) == 12
    with pytest.raises(UserError, match="finds no identity"):
        cluster_table(table, load_config(None, ["CLUSTER.METRIC", "cosine", "CLUSTER.EPS", 0.001]))


def test_identities_are_numbered_by_size() -> None:
    assert by_size(torch.tensor([0, -1, 1, 1, 2, 2])).tolist() == [2, -1, 0, 0, 1, 1]
    assert by_size(torch.tensor([-1, -1])).tolist() == [-1, -1]


def test_search_in_a_table() -> None:
    table, pids = world()
    gallery = TableGallery(table, [str(pid) for pid in pids])
    own = table.paths[0]
    hits = find(gallery, table.vectors[0], 5, own=own)
    assert [hit.pid for hit in hits] == ["0"] * 5 and own not in [hit.path for hit in hits]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    again = find(gallery, table.vectors[0], 5, own=own, rerank=True)
    assert {hit.path for hit in again} == {hit.path for hit in hits}
    others = find(gallery, table.vectors[0], 50, own=own, cameras=Cameras(without="c0"))
    assert {hit.camera for hit in others} == {"c1", "c2"}
    assert {hit.camera for hit in find(gallery, table.vectors[0], 50, cameras=Cameras(only=("c1",)))} == {"c1"}


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_radii_tried_are_distances_to_a_neighbour(metric: str) -> None:
    table, _ = world(ids=5)
    cfg = load_config(None, ["CLUSTER.METRIC", metric, "CLUSTER.MIN_SAMPLES", 3])
    unit = normalize(torch.from_numpy(table.vectors).double())
    distance = torch.cdist(unit, unit) if metric == "euclidean" else 1 - unit @ unit.T
    third = distance.sort(dim=1).values[:, 2]
    tried = radii(table, cfg)
    assert tried[0] >= float(third.min()) and tried[-1] <= float(third.max())
    assert float(torch.quantile(third, 0.5)) == pytest.approx(
        min(tried, key=lambda eps: abs(eps - third.median())), rel=0.02
    )


def test_an_identity_without_any_vector_is_neither_assigned_nor_counted() -> None:
    """Its mean would be zero: nearer than all others to a crop that is like nobody, and near everybody's threshold."""
    table, pids = world(ids=3)
    names = [str(pid) for pid in pids]
    whole = IdentityTable(table.paths, table.cameras, names, np.ones(len(names), np.float32))
    ghosts = [IdentityTable([f"{i}.jpg"], ["-"], [f"ghost {i}"], np.ones(1, np.float32)) for i in range(2)]
    columns = [(*(t.paths[0] for t in ghosts), *table.paths), (*(t.pids[0] for t in ghosts), *names)]
    more = IdentityTable(
        list(columns[0]), ["-"] * len(columns[0]), list(columns[1]), np.ones(len(columns[0]), np.float32)
    )
    new = FeatureTable(["q"], ["-"], -table.vectors.mean(0, keepdims=True), table.meta)
    for threshold in (None, -1.0):
        expected, found = (assign_table(new, table, known, threshold=threshold) for known in (whole, more))
        assert found.pids == expected.pids and found.meta == expected.meta
        assert found.confidences.tolist() == expected.confidences.tolist()
    few = IdentityTable(*(column[:8] for column in (more.paths, more.cameras, more.pids, more.confidences)))
    assert assign_table(new, table, few).meta["threshold"]["cosine"] == 0, "one identity has nothing to be told from"
