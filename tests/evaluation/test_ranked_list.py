from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from unreid.data.datasets.base import Split
from unreid.evaluation.picture import BORDER, CAPTION, CROP, GAP, Cell, sheet
from unreid.evaluation.ranked_list import (
    QUERY,
    RIGHT,
    UNKNOWN,
    WRONG,
    cluster_sheet,
    draw_neighbours,
    draw_ranked_list,
)
from unreid.evaluation.ranked_list import nearest_gallery as nearest
from unreid.structures import GroundTruth, Tracklet
from unreid.utils.errors import UserError


@pytest.fixture
def split(tmp_path: Path):
    def make(name: str, pids: list[int], camids: list[int]) -> Split:
        records = []
        for i, (pid, cam) in enumerate(zip(pids, camids)):
            path = tmp_path / f"{name}_{i}.png"
            cv2.imwrite(str(path), np.full((20, 10, 3), 20 * pid, dtype=np.uint8))
            records.append(Tracklet((str(path),), cam, i))
        return Split(records, GroundTruth(np.array(pids)))

    return make


def frame_colour(picture: np.ndarray, row: int, column: int) -> tuple[int, ...]:
    height = CROP[0] + 2 * BORDER + CAPTION + GAP
    return tuple(picture[GAP + row * height + 1, GAP + column * (CROP[1] + 2 * BORDER + GAP) + 4])


def test_borders_tell_right_from_wrong(split, tmp_path) -> None:
    query, gallery = split("q", [1, 2], [0, 0]), split("g", [1, 2, 1], [1, 1, 0])
    q, g = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.2], [0.1], [0.0]])
    path = tmp_path / "out" / "ranked_list.png"
    picture = draw_ranked_list(path, query, gallery, q, g, topk=10)
    # Query 0: its own camera's image is left out, the other identity comes first; query 1: wrong, right, wrong.
    np.testing.assert_array_equal(frame_colour(picture, 0, 0), QUERY)
    np.testing.assert_array_equal(frame_colour(picture, 0, 1), WRONG)
    np.testing.assert_array_equal(frame_colour(picture, 0, 2), RIGHT)
    np.testing.assert_array_equal(frame_colour(picture, 0, 3), (255, 255, 255))
    np.testing.assert_array_equal(frame_colour(picture, 1, 2), RIGHT)
    stored = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(stored, picture)
    assert picture.dtype == np.uint8


def test_nearest_respects_the_filter_and_ties(split) -> None:
    query, gallery = split("q", [1], [0]), split("g", [1, 2, 2, 1], [0, 0, 1, 1])
    features = torch.zeros(1, 2), torch.tensor([[0.0, 0], [1, 0], [0, 1], [2, 0]])
    assert nearest(query, gallery, *features, [0], topk=3)[0] == [[1, 2, 3]]
    assert nearest(query, gallery, *features, [0], topk=2, filter_same_camera=False) == ([[0, 1]], [[0.0, 1.0]])


def test_only_queries_with_a_match_are_drawn(split, tmp_path) -> None:
    query, gallery = split("q", [9, 1], [0, 0]), split("g", [1], [0])
    q, g = torch.zeros(2, 1), torch.zeros(1, 1)
    with pytest.raises(UserError, match="nothing to draw"):
        draw_ranked_list(tmp_path / "a.jpg", query, gallery, q, g)
    one = draw_ranked_list(tmp_path / "a.jpg", query, gallery, q, g, filter_same_camera=False)
    two = draw_ranked_list(tmp_path / "b.jpg", split("q2", [1, 1], [1, 1]), gallery, q, g, queries=2)
    assert two.shape[0] > one.shape[0] and (tmp_path / "b.jpg").stat().st_size > 0
    with pytest.raises(ValueError, match="a picture ends with"):
        draw_ranked_list(tmp_path / "a.gif", query, gallery, q, g)


def test_cluster_sheet_shows_large_clusters_and_survives_unreadable_files(split, tmp_path) -> None:
    paths = [record.paths[0] for record in split("t", list(range(1, 8)), [0] * 7).tracklets]
    labels = torch.tensor([0, 1, 1, 1, -1, 2, 2])
    sheet = cluster_sheet(paths, labels, 2)
    row = CROP[0] + 2 * BORDER + GAP
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3 and 2 * row < sheet.shape[0] < 3 * row
    assert sheet.shape[1] == 3 * (CROP[1] + 2 * BORDER + GAP) + GAP
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xe9.png")
    Image.fromarray(np.full((20, 10), 40_000, dtype=np.uint16)).save(odd)
    crop = cluster_sheet([odd], [0], 1)[GAP + BORDER : GAP + BORDER + CROP[0], GAP + BORDER : GAP + BORDER + CROP[1]]
    assert (crop == round(40_000 / 257)).all(), "16 bits, and a name that is not UTF-8"
    broken = cluster_sheet([str(tmp_path / "missing.jpg")] * 7, labels, 3, members=1)
    assert broken.shape[1] < sheet.shape[1]
    assert (cluster_sheet(paths, np.full(7, -1), 3) == 255).all()


def test_a_list_without_labels_calls_nothing_right(split, tmp_path) -> None:
    records = split("t", [1, 2, 3], [0, 1, 0]).tracklets
    picture = draw_neighbours(tmp_path / "free.png", records, torch.tensor([[0.0], [1.0], [0.1]]), rows=2, topk=10)
    np.testing.assert_array_equal(frame_colour(picture, 0, 0), QUERY)
    for column in (1, 2):
        np.testing.assert_array_equal(frame_colour(picture, 0, column), UNKNOWN)
    middle = GAP + BORDER + CROP[0] // 2, GAP + (CROP[1] + 2 * BORDER + GAP) + BORDER + CROP[1] // 2
    assert picture[middle][0] == 60, "the nearest other sample is the third"
    with pytest.raises(UserError, match="fewer than two"):
        draw_neighbours(tmp_path / "free.png", records[:1], torch.zeros(1, 1))


@pytest.mark.parametrize("shape", [(128, 64), (64, 128), (50, 50), (400, 20)])
def test_a_crop_keeps_its_aspect_ratio(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = tmp_path / "crop.png"
    Image.fromarray(np.zeros((*shape, 3), np.uint8)).save(path)
    drawn = sheet([[Cell(str(path), (255, 0, 0))]])
    inside = (drawn[GAP + BORDER : GAP + BORDER + CROP[0], GAP + BORDER : -GAP - BORDER] == 0).all(2)
    rows, columns = inside.any(1).sum(), inside.any(0).sum()
    assert rows / columns == pytest.approx(shape[0] / shape[1], rel=0.1)


def test_names_beyond_ascii_are_drawn_and_cut(tmp_path: Path) -> None:
    pictures = []
    for name in ("дом.png", "中中中.png", "plain.png", "x" * 60 + ".png"):
        path = tmp_path / name
        Image.fromarray(np.zeros((128, 64, 3), np.uint8)).save(path)
        pictures.append(sheet([[Cell(str(path), RIGHT, "✓ c1")]]))
    assert len({picture.shape for picture in pictures}) == 1
    assert not np.array_equal(pictures[0], pictures[2]) and (pictures[3][:, -GAP:] == 255).all()
