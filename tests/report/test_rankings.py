"""Ranked lists and tables of cameras hold the numbers that loops over all pairs give."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from tests.report.worlds import make_facts, make_samples
from unreid.evaluation.distance import DistanceBlocks
from unreid.evaluation.metrics import cmc_map
from unreid.report import Facts, Samples, TestSide
from unreid.report.cameras import cameras, neighbour_shares, rank_one
from unreid.report.crops import Crops
from unreid.report.ranked import TOP, ranked


def vague(folder: Path, count: int, seed: int) -> Samples:
    """Samples that are often nearest to another identity."""
    samples = make_samples(folder, count, seed=seed)
    return replace(samples, features=samples.features + 2 * np.random.default_rng(seed).normal(size=(count, 16)))


def facts_of(folder: Path, *, same_camera: bool = False) -> Facts:
    query, gallery = vague(folder, 30, 1), vague(folder, 48, 2)
    assert query.pids is not None and gallery.pids is not None
    places = [None, None] if same_camera else [query.camids, gallery.camids]
    ranking = cmc_map(DistanceBlocks(query.features, gallery.features), query.pids, gallery.pids, *places)
    return make_facts(folder, test=TestSide("W", query, gallery, ranking, same_camera=same_camera))


def lists(facts: Facts) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Text of each list, and (mark, caption, file) of its crops."""
    found = []
    for block in str(ranked(facts, Crops()).body).split('<div class="cluster">')[1:]:
        crops = re.findall(
            r'<figure class="crop (\w+)">.*?<figcaption>(.*?)<span class="file" title="(.*?)"', block, re.S
        )
        crops = [(mark, words, unescape(file)) for mark, words, file in crops]
        found.append((re.findall("<p>(.*?)</p>", block)[0], crops))
    return found


@pytest.mark.parametrize("same_camera", [False, True])
def test_each_query_has_its_nearest_and_the_worst_query_comes_first(tmp_path: Path, same_camera: bool) -> None:
    facts = facts_of(tmp_path, same_camera=same_camera)
    test = facts.test
    assert test is not None and test.query.pids is not None and test.gallery.pids is not None
    shown = lists(facts)
    ap = [float(re.findall(r"AP ([\d.]+) %", text)[0]) for text, _ in shown]
    assert ap == sorted(ap) and ap[0] < ap[-1] and len(ap) == 20
    assert ap[0] == pytest.approx(100 * test.ranking.ap.min(), abs=0.06)
    asked = {path: place for place, path in enumerate(test.query.paths)}
    for _, crops in shown:
        query = asked.get(crops[0][2])
        if query is None:  # a hostile name, which the page spells otherwise
            continue
        dist = ((test.query.features[query] - test.gallery.features) ** 2).sum(1).numpy()
        own = (test.gallery.pids == test.query.pids[query]) & (test.gallery.camids == test.query.camids[query])
        order = [place for place in np.argsort(dist, kind="stable").tolist() if same_camera or not own[place]][:TOP]
        marks = ["right" if test.gallery.pids[place] == test.query.pids[query] else "wrong" for place in order]
        assert [mark for mark, _, _ in crops] == ["query", *marks]
        assert crops[0][1] == f"query c{test.query.camids[query] + 1}"
        assert [words.split()[-1] for _, words, _ in crops[1:]] == [f"c{test.gallery.camids[p] + 1}" for p in order]
    assert len(asked.keys() & {crops[0][2] for _, crops in shown}) > 5


def test_the_curve_counts_queries_up_to_an_ap(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    assert facts.test is not None
    body = str(ranked(facts, Crops()).body)
    rows = re.findall(r"<tr>(.*?)</tr>", body[: body.index('class="cluster"')], re.S)
    numbers = {}
    for row in rows:
        cells = re.findall(r"<t[dh][^>]*>([^<]*)</t[dh]>", row)
        if len(cells) == 2 and cells[0].isdigit():
            numbers[int(cells[0])] = float(cells[1])
    ap = 100 * facts.test.ranking.ap[facts.test.ranking.valid]
    assert sorted(numbers) == list(range(0, 101, 5))
    assert [numbers[edge] for edge in (20, 50, 100)] == pytest.approx(
        [100 * np.mean(ap <= edge) for edge in (20, 50, 100)], abs=0.5
    )


def test_without_identities_a_sample_is_not_its_own_neighbour_and_outliers_are_together_with_nobody(
    tmp_path: Path,
) -> None:
    train = make_samples(tmp_path, 30, labelled=False)
    for text, crops in lists(make_facts(tmp_path, train=train, test=None)):
        assert crops[0][2] not in [file for _, _, file in crops[1:]] and text.startswith("cluster ")
        assert {mark for mark, _, _ in crops[1:]} <= {"same", "other"}
    alone = replace(train, labels=np.full(30, -1))
    marks = {mark for _, crops in lists(make_facts(tmp_path, train=alone, test=None)) for mark, _, _ in crops[1:]}
    assert marks == {"other"}


def test_lists_of_a_few_images_hold_neither_the_query_nor_what_is_left_out(tmp_path: Path) -> None:
    for text, crops in lists(make_facts(tmp_path, train=make_samples(tmp_path, 6, labelled=False), test=None)):
        assert crops[0][2] not in [file for _, _, file in crops[1:]] and len(crops) == 6, text
    facts = facts_of(tmp_path)
    test = facts.test
    assert test is not None and test.gallery.pids is not None and test.query.pids is not None
    few = np.arange(0, 48, 6)  # one identity, each camera
    gallery = replace(
        test.gallery,
        tracklets=[test.gallery.tracklets[place] for place in few],
        features=test.gallery.features[few],
        pids=test.gallery.pids[few],
    )
    for _, crops in lists(replace(facts, test=replace(test, gallery=gallery))):
        asked = next((place for place, path in enumerate(test.query.paths) if path == crops[0][2]), None)
        if asked is not None and test.query.pids[asked] == gallery.pids[0]:
            assert f"c{test.query.camids[asked] + 1}" not in [words.split()[-1] for _, words, _ in crops[1:]]


def test_cameras_of_neighbours_and_rank_one_are_those_of_a_double_loop(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    test, samples = facts.test, vague(tmp_path, 35, 3)
    assert test is not None and test.query.pids is not None and test.gallery.pids is not None
    share, names = neighbour_shares(samples)
    unit = samples.features / samples.features.norm(dim=1, keepdim=True)
    expected = np.zeros((3, 3))
    for place in range(35):
        dist = (unit[place] - unit).square().sum(1).numpy()
        for other in [p for p in np.argsort(dist).tolist() if p != place][:10]:
            expected[samples.camids[place], samples.camids[other]] += 1
    assert names == [0, 1, 2] and share == pytest.approx(expected / expected.sum(1, keepdims=True))

    few = replace(test, gallery=_without(test.gallery, identity=0, camera=1))
    assert few.gallery.pids is not None
    hits, rows, columns = rank_one(few)
    assert rows == columns == [0, 1, 2] and np.isnan(np.diag(hits)).all()
    for row, column in ((0, 1), (1, 0), (2, 1)):
        right = []
        for place in np.flatnonzero(few.query.camids == row):
            there = np.flatnonzero(few.gallery.camids == column)
            pid = test.query.pids[place]
            if pid in few.gallery.pids[there]:
                dist = (few.query.features[place] - few.gallery.features[there]).square().sum(1)
                right.append(few.gallery.pids[there[int(dist.argmin())]] == pid)
        assert len(right) > 0 and hits[row, column] == pytest.approx(np.mean(right))


def _without(samples: Samples, identity: int, camera: int) -> Samples:
    assert samples.pids is not None
    kept = np.flatnonzero((samples.pids != identity) | (samples.camids != camera))
    records = [samples.tracklets[place] for place in kept]
    return Samples(records, samples.features[kept], len(kept), None, samples.pids[kept])


def test_own_cameras_are_compared_with_their_share_of_the_images(tmp_path: Path) -> None:
    """All neighbours are of the own camera: 3 times as often as its third of the images, 1.5 times as two thirds."""
    samples = make_samples(tmp_path, 60, cameras=3)
    records = [replace(record, camid=0 if place < 20 else 1) for place, record in enumerate(samples.tracklets)]
    features = 0.01 * samples.features
    features[:20, 0] += 1
    features[20:, 1] += 1
    facts = make_facts(tmp_path, train=Samples(records, features, 60), test=None)
    text = str(cameras(facts).body)
    assert f"finds its own camera {(3 + 1.5) / 2:.1f} times as often" in text
