"""Which cameras find each other, and which are confused."""

from __future__ import annotations

import numpy as np
import torch

from unreid.evaluation.distance import DistanceBlocks, row_slices
from unreid.report.facts import Facts, Samples, TestSide
from unreid.report.markup import Html, joined, note, tag
from unreid.report.section import Section

NEIGHBOURS = 10
MOST = 24  # cameras in a table


def cameras(facts: Facts) -> Section:
    """Matrices of cameras."""
    title = "Cameras"
    if not facts.has_cameras:
        return Section("cameras", title, note("The data have no camera labels, so there is nothing to compare."))
    samples = facts.train or (facts.test.gallery if facts.test else None)
    if samples is None:
        return Section("cameras", title, note(facts.missing.get("features", "")))
    parts: list[Html] = []
    share, names = neighbour_shares(samples)
    if len(names) < 2:
        return Section("cameras", title, note("All images are from one camera."))
    expected = np.array([np.mean(samples.camids == name) for name in names])
    own = float(np.mean(np.diag(share) / np.maximum(expected, 1e-9)))
    parts.append(
        note(
            f"From which camera the {NEIGHBOURS} nearest neighbours of a camera's samples come, in percent of a row; "
            "no label is read. A network that ignores cameras gives each column its camera's share of the images. Here "
            f"a sample finds its own camera {own:.1f} times as often as that."
        )
    )
    parts.append(_matrix("Cameras of the nearest neighbours", 100 * share, names, names, 100 * expected))
    if facts.test is not None:
        found, rows, columns = rank_one(facts.test)
        if np.isfinite(found).any():
            parts.append(
                note(
                    "How often the nearest gallery crop of one camera is the right one, in percent of the queries that "
                    "have a match there: low values are pairs of cameras that the network confuses."
                )
            )
            parts.append(_matrix("R1 by pair of cameras (query, gallery)", 100 * found, rows, columns))
    return Section("cameras", title, joined(parts))


def neighbour_shares(samples: Samples) -> tuple[np.ndarray, list[int]]:
    """Row-stochastic float (C, C) and the cameras: where the nearest neighbours of a camera's samples are."""
    names, codes = np.unique(samples.camids, return_inverse=True)
    features = torch.nn.functional.normalize(samples.features)
    blocks = DistanceBlocks(features, features)
    counts = np.zeros((len(names), len(names)))
    width = min(NEIGHBOURS, len(samples) - 1)
    for rows in row_slices(*blocks.shape):
        dist = blocks(rows)
        own = torch.arange(rows.start, rows.stop)
        dist[own - rows.start, own] = torch.inf
        found = codes[dist.topk(width, dim=1, largest=False).indices.numpy()]
        np.add.at(counts, (np.repeat(codes[rows], width), found.reshape(-1)), 1)
    return counts / np.maximum(counts.sum(1, keepdims=True), 1), names.tolist()


def rank_one(test: TestSide) -> tuple[np.ndarray, list[int], list[int]]:
    """float (A, B), nan where nothing can match: share of right nearest crops, by cameras of query and gallery."""
    assert test.query.pids is not None and test.gallery.pids is not None
    rows, columns = np.unique(test.query.camids).tolist(), np.unique(test.gallery.camids).tolist()
    hits, total = np.zeros((2, len(rows), len(columns)))
    blocks = DistanceBlocks(test.query.features, test.gallery.features)
    query_codes = np.searchsorted(rows, test.query.camids)
    for part in row_slices(*blocks.shape):
        dist, codes, pids = blocks(part), query_codes[part], test.query.pids[part]
        for number, camera in enumerate(columns):
            there = np.flatnonzero(test.gallery.camids == camera)
            nearest = there[dist[:, torch.from_numpy(there)].argmin(1).numpy()]
            counts = np.isin(pids, test.gallery.pids[there])
            if not test.same_camera:
                counts &= test.query.camids[part] != camera
            np.add.at(total[:, number], codes[counts], 1)
            np.add.at(hits[:, number], codes[counts], test.gallery.pids[nearest[counts]] == pids[counts])
    with np.errstate(invalid="ignore", divide="ignore"):
        return hits / total, rows, columns


def _matrix(
    caption: str, values: np.ndarray, rows: list[int], columns: list[int], expected: np.ndarray | None = None
) -> Html:
    width = min(len(columns), MOST)
    head = [tag("th", ""), *(tag("th", f"c{name + 1}", scope="col") for name in columns[:width])]
    body = [
        tag("tr", tag("th", f"c{name + 1}", scope="row"), [_cell(value) for value in line[:width]])
        for name, line in zip(rows[:MOST], values)
    ]
    if expected is not None:
        share = [tag("td", f"{value:.0f}") for value in expected[:width]]
        body.append(tag("tr", tag("th", "share", scope="row"), share, class_="foot"))
    more = f"; the first {MOST} cameras" if max(len(rows), len(columns)) > MOST else ""
    parts = [tag("caption", f"{caption}, in percent{more}"), tag("thead", tag("tr", head)), tag("tbody", body)]
    inside = tag("table", parts, class_="heat")
    return tag("div", inside, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _cell(value: float) -> Html:
    if not np.isfinite(value):
        return tag("td", "–", class_="none")
    step = int(np.clip(value // 10, 0, 9))
    return tag("td", f"{value:.0f}", class_=f"h{step}")
