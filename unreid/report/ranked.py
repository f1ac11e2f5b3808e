"""Ranked lists: of the test queries, the worst first; without labels, of the training samples that fit least."""

from __future__ import annotations

import numpy as np
import torch

from unreid.evaluation.distance import DistanceBlocks
from unreid.evaluation.selection import silhouette_values
from unreid.report.charts import Series, line_chart
from unreid.report.crops import Crops
from unreid.report.facts import Facts, Samples, TestSide
from unreid.report.markup import Html, joined, note, tag
from unreid.report.section import Section

LISTS, TOP = 20, 10


def ranked(facts: Facts, crops: Crops) -> Section:
    """Rows of crops: the query, then its nearest."""
    title = "Ranked lists"
    if facts.test is not None:
        return Section("ranked", title, _tested(facts.test, crops, facts))
    if facts.train is None:
        return Section("ranked", title, note(facts.missing.get("test", facts.missing.get("features", ""))))
    return Section("ranked", title, _unlabelled(facts.train, crops, facts))


def _tested(test: TestSide, crops: Crops, facts: Facts) -> Html:
    ap = 100 * test.ranking.ap
    valid = np.flatnonzero(test.ranking.valid)
    worst = valid[np.argsort(ap[valid], kind="stable")]
    cut = ""
    if len(test.gallery) < test.gallery.whole:
        cut = (
            f" The gallery is a sample of {len(test.gallery):,} of {test.gallery.whole:,} that holds all matches, so "
            "that the average precision here is higher than the score of the run."
        )
    own = "count" if test.same_camera else "are left out"
    head = note(
        f"{test.name}: the {min(LISTS, len(worst))} of {len(worst):,} queries of lowest average precision (AP), "
        "worst first; c3: camera 3. A solid blue frame with ✓ is a match, a dashed orange one with ✗ is none; gallery "
        f"crops of the query's own identity and camera {own}.{cut}"
    )
    spread = [float(np.mean(ap[valid] <= edge) * 100) for edge in range(0, 101, 5)]
    curve = line_chart(
        "Share of the queries with an AP up to ...",
        [Series("queries", list(range(0, 101, 5)), spread)],
        x_label="AP in percent",
        y_label="percent of the queries",
        y_range=(0, 100),
    )
    rows = []
    for query in worst[:LISTS].tolist():
        columns = _nearest(test, query)
        rows.append(_list(test, query, columns, ap[query], crops, facts))
    return joined(head, curve, rows)


def _nearest(test: TestSide, query: int) -> np.ndarray:
    dist = DistanceBlocks(test.query.features[query : query + 1], test.gallery.features)(slice(0, 1))[0]
    assert test.query.pids is not None and test.gallery.pids is not None
    if not test.same_camera:
        own = (test.gallery.pids == test.query.pids[query]) & (test.gallery.camids == test.query.camids[query])
        dist[torch.from_numpy(own)] = torch.inf
    values, columns = dist.sort(stable=True)
    return columns[values.isfinite()][:TOP].numpy()


def _list(test: TestSide, query: int, columns: np.ndarray, ap: float, crops: Crops, facts: Facts) -> Html:
    assert test.query.pids is not None and test.gallery.pids is not None
    first, matches = int(test.ranking.first_rank[query]), int(test.ranking.matches[query])
    figures = [crops.figure(test.query.tracklets[query], _camera("query", test.query, query, facts), mark="query")]
    for rank, column in enumerate(columns.tolist(), 1):
        right = test.gallery.pids[column] == test.query.pids[query]
        sign = "✓" if right else "✗"
        words = _camera(f"{rank} {sign}", test.gallery, column, facts)
        alt = f"rank {rank}, {'match' if right else 'no match'}"
        figures.append(crops.figure(test.gallery.tracklets[column], words, mark="right" if right else "wrong", alt=alt))
    text = f"AP {ap:.1f} %, first match at rank {first}, {matches} match{'es' if matches > 1 else ''} in the gallery"
    return tag("div", tag("p", text), tag("div", figures, class_="strip"), class_="cluster")


def _unlabelled(train: Samples, crops: Crops, facts: Facts) -> Html:
    """Without identities nobody knows what is right: the frame says whether a neighbour is in the same cluster."""
    normal = torch.nn.functional.normalize(train.features)
    if train.labels is not None and (train.labels >= 0).any():
        values = silhouette_values(train.features, train.labels).cpu().numpy()
        inside = np.flatnonzero(train.labels >= 0)
        chosen = inside[np.argsort(values[inside], kind="stable")]
        chosen = chosen[np.sort(np.unique(train.labels[chosen], return_index=True)[1])][:LISTS]  # one of a cluster
        order = "samples that fit their cluster least, one a cluster, worst first"
    else:
        chosen = np.arange(min(LISTS, len(train))) * len(train) // max(min(LISTS, len(train)), 1)
        order = "some samples"
    rows = []
    for query in chosen.tolist():
        dist = DistanceBlocks(normal[query : query + 1], normal)(slice(0, 1))[0]
        dist[query] = torch.inf
        figures = [crops.figure(train.tracklets[query], _camera("sample", train, query, facts), mark="query")]
        for rank, column in enumerate(dist.sort(stable=True).indices[: min(TOP, len(train) - 1)].tolist(), 1):
            together = train.labels is not None and train.labels[query] == train.labels[column] >= 0
            words = _camera(f"{rank} {'=' if together else '≠'}", train, column, facts)
            figures.append(crops.figure(train.tracklets[column], words, mark="same" if together else "other"))
        label = "" if train.labels is None else f"cluster {train.labels[query]}"
        rows.append(tag("div", tag("p", label), tag("div", figures, class_="strip"), class_="cluster"))
    head = note(
        f"There are no test labels, so there is no AP. Shown are {order}, each with its nearest training samples: a "
        "solid frame with = is in the same cluster, a dashed one with ≠ is not. Which of them is right, only a person "
        "can say."
    )
    return joined(head, rows)


def _camera(words: str, samples: Samples, place: int, facts: Facts) -> str:
    return f"{words} c{samples.tracklets[place].camid + 1}" if facts.has_cameras else words
