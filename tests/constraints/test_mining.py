"""Overlaps and walks mined from tracklets: the worked example of the definition, and loops over pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unreid.constraints import describe, mine_overlaps, passes_of_clusters, shared_tracks
from unreid.constraints.intervals import lag, overlapping_pairs

from .worlds import STARTS, overlap, random_records, tracklet

EXAMPLE = [
    tracklet("A", 5, 50000, 50240, 0),
    tracklet("B", 1, 44500, 44740, 1),
    tracklet("C", 8, 3300, 3420, 2),
    tracklet("D", 1, 45000, 45200, 3),
    tracklet("E", 5, 50300, 50400, 4),
]


def test_the_worked_example() -> None:
    records = describe(EXAMPLE, list("ABCDE"), STARTS)
    assert records.start is not None and records.end is not None
    intervals = list(zip(records.start.tolist(), records.end.tolist()))
    assert intervals == [(50000, 50240), (50042, 50282), (50065, 50185), (50542, 50742), (50300, 50400)]
    links = mine_overlaps(records)
    assert list(zip(links.rows().tolist(), links.index.tolist())) == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    assert links.is_symmetric()
    start, end = torch.from_numpy(records.start), torch.from_numpy(records.end)
    lags = {"AD": 302, "AE": 60, "BD": 260, "BE": 18, "CD": 357, "CE": 115, "ED": 142, "DB": -260, "AB": 0}
    for (one, other), expected in lags.items():
        i, j = "ABCDE".index(one), "ABCDE".index(other)
        assert int(lag(start[i], end[i], start[j], end[j])) == expected


@given(st.integers(0, 1000), st.integers(0, 40), st.integers(0, 40), st.integers(0, 30))
def test_overlapping_pairs_are_those_of_a_double_loop(seed: int, rows: int, columns: int, wanted: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (np.sort(rng.integers(0, 120, (2, count)), axis=0) for count in (rows, columns))
    i, j = overlapping_pairs(a[0], a[1], b[0], b[1], wanted)
    expected = {
        (r, c) for r in range(rows) for c in range(columns) if min(a[1, r], b[1, c]) - max(a[0, r], b[0, c]) >= wanted
    }
    found = list(zip(i.tolist(), j.tolist()))
    assert len(found) == len(set(found)) and set(found) == expected


@given(st.integers(0, 1000), st.integers(1, 30), st.sampled_from([0, 5, 20]), st.sampled_from(["clip", "track"]))
def test_links_are_different_passes_that_overlap(seed: int, count: int, wanted: int, level: str) -> None:
    records = random_records(seed, count)
    exclude = [(0, 1)]
    links = mine_overlaps(records, min_overlap=wanted, level=level, exclude=exclude)
    assert records.track_start is not None and records.track_end is not None
    for i in range(count):
        for j in range(count):
            if level == "clip":
                together = overlap(records, records, i, j)
            else:
                ends = min(records.track_end[i], records.track_end[j])
                together = int(ends - max(records.track_start[i], records.track_start[j]))
            cameras = {records.camids[i], records.camids[j]}
            expected = records.tracks[i] != records.tracks[j] and together >= wanted and cameras != {0, 1}
            linked = j in links.index[links.start[i] : links.start[i + 1]]
            assert linked == expected


def test_links_of_whole_passes_hold_those_of_clips() -> None:
    records = random_records(5, 40)
    clips, passes = mine_overlaps(records), mine_overlaps(records, level="track")
    pairs = [set(zip(links.rows().tolist(), links.index.tolist())) for links in (clips, passes)]
    assert pairs[0] < pairs[1]


def test_a_query_is_not_linked_with_its_own_copy_in_the_gallery() -> None:
    keys = ["query/0001/0001/a.jpg"], ["gallery/0001/0001/a.jpg", "gallery/0002/0001/a.jpg"]
    rows, columns = shared_tracks(*keys)
    query = describe([tracklet("q", 1, 0, 50, 0)], keys[0], (1,), rows)
    gallery = describe([tracklet("q", 1, 0, 50, 0), tracklet("g", 1, 50, 60, 1)], keys[1], (1,), columns)
    links = mine_overlaps(query, gallery)
    assert links.index.tolist() == [1] and (links.height, links.width) == (1, 2)


@given(st.integers(0, 1000), st.integers(1, 40))
def test_walks_are_pairs_of_passes_in_a_cluster_that_do_not_overlap(seed: int, count: int) -> None:
    records = random_records(seed, count)
    labels = np.random.default_rng(seed).integers(-1, 3, count)
    assert records.track_start is not None and records.track_end is not None
    expected = []
    for cluster in range(3):
        first = {}
        for position in np.flatnonzero(labels == cluster):
            first.setdefault(int(records.tracks[position]), int(position))
        members = sorted(first)
        for one in members:
            for other in (track for track in members if track > one):
                i, j = first[one], first[other]
                gap = max(int(records.track_start[j] - records.track_end[i]), 0)
                gap = gap or -max(int(records.track_start[i] - records.track_end[j]), 0)
                if gap:
                    expected.append((int(records.camids[i]), int(records.camids[j]), gap))
    found = zip(*(part.tolist() for part in passes_of_clusters(records, labels)))
    assert sorted(found) == sorted(expected)


def test_bad_input() -> None:
    records = random_records(0, 4)
    with pytest.raises(ValueError, match="not 'frame'"):
        mine_overlaps(records, level="frame")
    timeless = describe(EXAMPLE, list("ABCDE"))
    assert not timeless.has_time
    for mine in (mine_overlaps, lambda r: passes_of_clusters(r, np.zeros(5, dtype=np.int64))):
        with pytest.raises(ValueError, match="with time"):
            mine(timeless)
