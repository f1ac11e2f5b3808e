from __future__ import annotations

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from unreid.config import load_config
from unreid.data.datasets.base import Split
from unreid.evaluation.distance import pairwise_distance
from unreid.evaluation.evaluator import CameraRerankSettings, Evaluator, RerankSettings, format_table
from unreid.evaluation.metrics import cmc_map
from unreid.evaluation.rerank import rerank_features
from unreid.neighbors import camera_centered
from unreid.structures import GroundTruth, Tracklet
from unreid.utils.errors import UserError


def split(pids: np.ndarray, camids: np.ndarray) -> Split:
    records = [Tracklet((f"{i}.jpg",), int(cam), i) for i, cam in enumerate(camids)]
    return Split(records, GroundTruth(np.asarray(pids, dtype=np.int64)))


@pytest.fixture
def world() -> SimpleNamespace:
    rng = np.random.default_rng(0)
    ids = [rng.integers(1, 6, 10), rng.integers(0, 6, 40), rng.integers(0, 3, 10), rng.integers(0, 3, 40)]
    centres = rng.normal(size=(6, 8))
    q, g = (torch.from_numpy(centres[p] + rng.normal(size=(len(p), 8))).float() for p in ids[:2])
    return SimpleNamespace(q=q, g=g, ids=ids, query=split(ids[0], ids[2]), gallery=split(ids[1], ids[3]))


def test_run_extracts_both_sides_and_scores_them(world) -> None:
    asked = []

    def extract(tracklets: list[Tracklet]) -> torch.Tensor:
        asked.append(len(tracklets))
        return world.q if len(tracklets) == 10 else world.g

    got = Evaluator(world.query, world.gallery).run(extract)
    assert got == cmc_map(pairwise_distance(world.q, world.g), *world.ids).as_dict()
    assert asked == [10, 40]


def test_reranked_scores_stand_beside_the_plain_ones(world) -> None:
    settings = RerankSettings(k1=5, k2=2, lambda_value=0.2, square_input=False)
    got = Evaluator(world.query, world.gallery, rerank=settings).score(world.q, world.g)
    again = rerank_features(world.q, world.g, k1=5, k2=2, lambda_value=0.2, square_input=False)
    expected = cmc_map(again, *world.ids).as_dict()
    assert {name.removesuffix("_rerank"): v for name, v in got.items() if name.endswith("_rerank")} == expected
    assert got["mAP"] == pytest.approx(cmc_map(pairwise_distance(world.q, world.g), *world.ids).as_dict()["mAP"])


def test_modifiers_change_query_gallery_distances_only(world) -> None:
    penalty = torch.rand(10, 40)

    class Penalty:
        def apply(self, block: torch.Tensor, rows: slice) -> torch.Tensor:
            return block + penalty[rows]

    q_g = pairwise_distance(world.q, world.g) + penalty
    got = Evaluator(world.query, world.gallery, modifiers=[Penalty()], rerank=RerankSettings(k1=5)).score(
        world.q, world.g
    )
    assert got["mAP"] == pytest.approx(cmc_map(q_g, *world.ids).as_dict()["mAP"])
    again = rerank_features(world.q, world.g, q_g=q_g, k1=5)
    assert got["mAP_rerank"] == pytest.approx(cmc_map(again, *world.ids).as_dict()["mAP"])


def test_protocol_attributes_and_config(world) -> None:
    node = SimpleNamespace(ENABLED=False, K1=20, K2=6, LAMBDA=0.3, CAMERAS=False)
    cfg = SimpleNamespace(TEST=SimpleNamespace(AP="trapezoid", RERANK=node, CAMERA_CENTERED=False), SEED=3)
    dataset = SimpleNamespace(
        query=world.query, gallery=world.gallery, cross_camera_filter=False, single_gallery_shot=False
    )
    got = Evaluator.from_config(cfg, dataset).score(world.q, world.g)
    result = cmc_map(pairwise_distance(world.q, world.g), *world.ids, ap="trapezoid", filter_same_camera=False)
    assert got == result.as_dict() | {"mAP_step": 100 * result.mean_ap("step")}
    dataset.single_gallery_shot = True
    node.ENABLED = True
    classic = Evaluator.from_config(cfg, dataset)
    assert classic.rerank == RerankSettings() and classic.score(world.q, world.g) == classic.score(world.q, world.g)
    expected = cmc_map(
        pairwise_distance(world.q, world.g),
        *world.ids,
        separate_camera_set=True,
        single_gallery_shot=True,
        first_match_break=False,
        generator=torch.Generator().manual_seed(3),
    )
    assert classic.score(world.q, world.g)["R1"] == pytest.approx(100 * expected.cmc[0])


@pytest.mark.parametrize("settings", [None, RerankSettings(k1=5)])
def test_unreadable_samples_are_left_out(world, settings, caplog) -> None:
    q, g = world.q.clone(), world.g.clone()
    q[3], g[:7] = 0, 0
    with caplog.at_level(logging.WARNING):
        got = Evaluator(world.query, world.gallery, rerank=settings).score(q, g)
    q_pids, g_pids, q_cams, g_cams = world.ids
    there = np.delete(np.arange(10), 3)
    expected = cmc_map(pairwise_distance(q[there], g[7:]), q_pids[there], g_pids[7:], q_cams[there], g_cams[7:])
    assert {name: got[name] for name in expected.as_dict()} == pytest.approx(expected.as_dict())
    assert "7 of 40 gallery" in caplog.text and "1 of 10 query" in caplog.text


@pytest.mark.parametrize("settings", [RerankSettings(k1=5, k2=2), CameraRerankSettings(k1_inter=5)])
def test_unreadable_queries_are_nobodys_neighbours(world, settings) -> None:
    """Their zeros lie in the middle of everything."""
    there = np.delete(np.arange(10), [2, 3, 7])
    q = torch.nn.functional.normalize(world.q)
    q[[2, 3, 7]] = 0
    g = torch.nn.functional.normalize(world.g)
    got = Evaluator(world.query, world.gallery, rerank=settings).score(q, g)
    readable = split(world.ids[0][there], world.ids[2][there])
    assert got == pytest.approx(Evaluator(readable, world.gallery, rerank=settings).score(q[there], g))


def test_no_match_at_all(world) -> None:
    strangers = split(np.full(10, 77), world.ids[2])
    with pytest.raises(UserError, match="No query has a match"):
        Evaluator(strangers, world.gallery).score(world.q, world.g)


def test_table_is_aligned_and_complete() -> None:
    plain = {"mAP": 1.0, "R1": 22.25, "R5": 33.0, "R10": 100.0}
    text = format_table({"a": plain, "a longer name": plain | {f"{name}_rerank": 50.0 for name in plain}})
    lines = text.splitlines()
    assert len({len(line) for line in lines}) == 1 and len(lines) == 4
    assert lines[0].split() == ["mAP", "R1", "R5", "R10"]
    assert lines[1].split() == ["a", "1.0", "22.2", "33.0", "100.0"]
    assert lines[3].split() == ["a", "longer", "name,", "re-ranked", "50.0", "50.0", "50.0", "50.0"]
    both = format_table({"a": plain | {"mAP_step": 2.0, "epoch": 4}, "b": plain})
    assert both.splitlines()[0].endswith("mAP step") and both.splitlines()[2].split()[-1] == "-"
    assert format_table({}).strip() == ""


def test_camera_centred_features_are_ranked(world) -> None:
    """Camera shifts over both sides are taken out before anything is compared; unreadable rows stay out."""
    shift = 40 * torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    q, g = world.q + shift[world.ids[2]], world.g + shift[world.ids[3]]
    g[3] = 0
    evaluator = Evaluator(world.query, world.gallery, camera_centered=True, rerank=RerankSettings(k1=5, k2=2))
    both = camera_centered(torch.cat((q, g)), np.concatenate(world.ids[2:]))
    expected = Evaluator(world.query, world.gallery, rerank=RerankSettings(k1=5, k2=2)).score(both[:10], both[10:])
    assert evaluator.score(q, g) == expected
    assert expected["mAP"] > Evaluator(world.query, world.gallery).score(q, g)["mAP"]
    plain = world.g.clone()
    plain[3] = 0
    assert evaluator.score(world.q, plain)["mAP"] == pytest.approx(expected["mAP"], abs=1e-3)


def test_camera_centring_without_cameras_is_refused(world) -> None:
    cfg = load_config(None, ["TEST.CAMERA_CENTERED", True])
    one = split(world.ids[0], np.zeros(10)), split(world.ids[1], np.zeros(40))
    dataset = SimpleNamespace(query=one[0], gallery=one[1], name="Crops")
    with pytest.raises(UserError, match="query and gallery of Crops count as one camera: name the cameras"):
        Evaluator.from_config(cfg, dataset)
