"""The history of a run: its table and its picture."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from unreid.engine.hooks.history import HistoryHook, rounds_figure
from unreid.structures import Clustering, RoundPlan
from unreid.utils.events import EventStorage


def hook(tmp_path: object, **results: object) -> HistoryHook:
    history = HistoryHook(tmp_path, SimpleNamespace(last_results=dict(results)))  # type: ignore[arg-type]
    history.trainer = SimpleNamespace(  # type: ignore[assignment]
        storage=EventStorage(), state=SimpleNamespace(round=0, epoch=0)
    )
    return history


def test_a_row_holds_what_is_known_about_a_round(tmp_path: object) -> None:
    history = hook(tmp_path)
    state, storage = history.trainer.state, history.trainer.storage
    for state.round, labels in enumerate(([0, 0, 0, 1, -1], [-1] * 5)):
        state.epoch = state.round + 2  # two epochs of warm-up
        if state.round == 0:
            storage.put_scalars(
                {"cluster/pair_precision": 0.5, "cluster/pair_recall": 1 / 3, "select/label_free": 0.25}
            )
        clustering = Clustering.from_labels(labels)
        history.after_label(clustering, RoundPlan(clustering.labels, 1, 1))
        storage.write()
        state.epoch += 1
        if state.round == 1:
            history.evaluation.last_results = {"epoch": 4, "World": {"mAP": 12.345, "R1": 50.0}}
        history.after_epoch()
    sizes = {"clusters": 2, "outliers": 1, "largest": 3, "mean_size": 2.0, "alone": 1}
    quality = {"pair_precision": 50.0, "pair_recall": 33.33, "label_free": 25.0}
    assert history.rows[0] == {"round": 0, "epochs": 3, **sizes, **quality}
    empty = {"clusters": 0, "outliers": 5, "largest": 0, "mean_size": 0.0, "alone": 0}
    assert history.rows[1] == {"round": 1, "epochs": 4, **empty, "World mAP": 12.35, "World R1": 50.0}
    again = hook(tmp_path)
    again.load_state_dict(history.state_dict())
    assert again.rows == history.rows
    header, *lines = (tmp_path / "rounds.csv").read_text().splitlines()  # type: ignore[operator]
    assert header.split(",")[:4] == ["round", "epochs", "clusters", "outliers"] and len(lines) == 2


def test_scores_of_an_earlier_epoch_are_not_the_rounds(tmp_path: object) -> None:
    history = hook(tmp_path, epoch=1, World={"mAP": 1.0, "R1": 1.0})
    history.trainer.state.epoch = 1
    clustering = Clustering.from_labels([0, 0, 1, 1])
    history.after_label(clustering, RoundPlan(clustering.labels, 1, 1))
    history.trainer.state.epoch = 2
    history.after_epoch()
    assert "World mAP" not in history.rows[0]


def test_the_first_round_has_no_label_free_score_without_a_round_before(tmp_path: object) -> None:
    history = hook(tmp_path)
    features = torch.nn.functional.one_hot(torch.tensor([0, 0, 1, 1])).float()
    for history.trainer.state.round in range(2):
        clustering = dataclasses.replace(Clustering.from_labels([0, 0, 1, 1]), features=features)
        history.after_label(clustering, RoundPlan(clustering.labels, 1, 1))
    assert "label_free" not in history.rows[0] and history.rows[1]["label_free"] == 100


def test_the_warm_up_is_no_round(tmp_path: object) -> None:
    history = hook(tmp_path)
    history.trainer.state.round = -1
    clustering = Clustering.from_labels(torch.arange(4))
    history.after_label(clustering, RoundPlan(clustering.labels, 1, 1))
    history.after_epoch()
    assert history.rows == []


@pytest.mark.parametrize("count", [2, 3, 7, 40])
@pytest.mark.parametrize("judged", [False, True])
def test_the_picture_says_what_it_shows(count: int, judged: bool) -> None:
    rows = [{"round": r, "clusters": 9 - r % 9, "outliers": r} for r in range(count)]
    if judged:
        rows = [
            {**row, "pair_precision": 50, "label_free": 10, **({"W mAP": 30} if row["round"] else {})} for row in rows
        ]
    figure = rounds_figure(rows)
    figure.draw_without_rendering()
    counts = figure.axes[-1]
    assert counts.get_xlabel() == "round of clustering"
    assert all(float(tick).is_integer() for tick in counts.get_xticks())
    drawn = {line.get_label(): list(line.get_ydata()) for axes in figure.axes for line in axes.lines}
    assert drawn["clusters"] == [row["clusters"] for row in rows]
    assert drawn["outliers"] == [row["outliers"] for row in rows]
    expected = {"W mAP", "pair precision", "label-free score"} if judged else set()
    assert set(drawn) == {"clusters", "outliers"} | expected
    if judged:
        assert drawn["W mAP"] == [30] * (count - 1)
