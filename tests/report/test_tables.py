"""The numbers of curves, scores and settings, read back from the page's tables."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from unreid.report import Facts, Setting
from unreid.report.charts import Series, line_chart
from unreid.report.config_diff import config_diff
from unreid.report.history import history
from unreid.report.scores import headline, scores
from unreid.report.section import Section


def facts(**known: Any) -> Facts:
    return Facts("logs/x", "CDSM", "DBSCAN", ["W"], "finished", **known)


def tables(section: Section) -> dict[str, list[list[str]]]:
    """caption -> rows of cells, the head first."""
    found = {}
    for text in re.findall(r"<table>(.*?)</table>", str(section.body), re.S):
        caption = re.findall(r"<caption>(.*?)</caption>", text)[0]
        rows = [
            re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in re.findall(r"<tr>(.*?)</tr>", text, re.S)
        ]
        assert caption not in found
        found[caption] = [[re.sub(r"<[^>]*>", "", cell) for cell in row] for row in rows]
    return found


def notes(section: Section) -> list[str]:
    return re.findall(r'<p class="note">(.*?)</p>', str(section.body))


def rounds(**columns: list[float]) -> list[dict[str, float]]:
    count = len(next(iter(columns.values())))
    plain = {"round": list(range(count)), "clusters": [9.0] * count, "outliers": [0.0] * count}
    whole = {**plain, "largest": [5.0] * count, "mean_size": [2.5] * count, **columns}
    return [
        {name: values[row] for name, values in whole.items() if not math.isnan(values[row])} for row in range(count)
    ]


def test_curves_hold_the_rows_of_the_rounds() -> None:
    rows = rounds(clusters=[8, 7, 6], outliers=[3, 2, 0], largest=[4, 5, 6], mean_size=[2, 2.5, 3])
    rows = [
        row | more for row, more in zip(rows, ({"W mAP": 10.0, "label_free": 1.0}, {"W mAP": 20.0}, {"W mAP": 30.5}))
    ]
    found = tables(history(facts(rounds=rows)))
    label = "round of clustering"
    assert found["Scores and quality of the labels"] == [
        [label, "W mAP", "label-free score"],
        ["0", "10", "1"],
        ["1", "20", ""],
        ["2", "30.5", ""],
    ]
    assert found["Clusters"] == [[label, "clusters", "outliers"], ["0", "8", "3"], ["1", "7", "2"], ["2", "6", "0"]]
    assert found["Size of a cluster"] == [
        [label, "largest", "mean"],
        ["0", "4", "2"],
        ["1", "5", "2.5"],
        ["2", "6", "3"],
    ]
    assert "Losses" not in found


@pytest.mark.parametrize(
    ("outliers", "alone", "named"),
    [
        ([0, 3], None, ["clusters", "outliers"]),
        ([0, 0], None, ["clusters", "outliers"]),
        ([0, 0], [2, 1], ["clusters", "alone in a cluster"]),
        ([0, 3], [2, 1], ["clusters", "outliers", "alone in a cluster"]),
        ([0, 0], [0, 0], ["clusters", "outliers"]),
    ],
)
def test_a_method_has_outliers_lone_samples_or_both(
    outliers: list[float], alone: list[float] | None, named: list[str]
) -> None:
    rows = rounds(outliers=outliers, **({} if alone is None else {"alone": alone}))
    assert tables(history(facts(rounds=rows)))["Clusters"][0][1:] == named


def test_losses_are_drawn_where_they_are_numbers() -> None:
    rows = [
        *(
            {"step": 1, "loss/b": 2.0, "loss/a": 1},
            {"step": 2, "loss/a": math.nan, "other": 5.0},
            {"step": 3, "loss/b": 0.5},
        ),
        *({"step": 4, "loss/a": math.inf, "loss/b": "x"}, {"step": 5, "loss/b": None}),
    ]
    section = history(facts(metrics=rows))
    assert tables(section)["Losses"] == [["step", "a", "b"], ["1", "1", "2"], ["3", "", "0.5"]]
    assert notes(section) == ["There was no round of clustering yet."]
    assert notes(history(facts(missing={"rounds": "Gone."}))) == ["Gone."]


def test_a_chart_puts_its_points_where_its_axes_say() -> None:
    text = str(
        line_chart("T", [Series("a", [0, 10], [0, 50])], x_label="x", y_label="y", y_range=(0, 100), mark=(5, "m"))
    )
    (line,) = re.findall(r'<path d="M([\d. L]+)" class="line"/>', text.replace("M0 7H26", ""))
    (left, bottom), (right, middle) = (tuple(map(float, point.split())) for point in line.split("L"))
    ticks = {
        value: (float(x), float(y))
        for x, y, value in re.findall(r'<text x="([\d.]+)" y="([\d.]+)" class="tick" text-anchor="\w+">([\d.]+)<', text)
    }
    assert ticks["0"][0] == pytest.approx(left, abs=0.1) and ticks["10"][0] == pytest.approx(right, abs=0.1)
    grid = {round(float(y), 1) for y in re.findall(r'y1="([\d.]+)" y2="\1" class="grid"', text)}
    assert round(bottom, 1) in grid and len(grid) == 6
    top = min(grid)
    assert middle - 0.2 <= (top + bottom) / 2 <= middle + 0.2, "50 of 100 is half way up"
    (mark,) = re.findall(r'<line x1="([\d.]+)" x2="\1" y1="30" y2="[\d.]+" class="mark"', text)
    assert float(mark) == pytest.approx((left + right) / 2, abs=0.1)


def origin_of(settings: list[Setting]) -> dict[str, list[str]]:
    return {
        title: [row[0] for row in rows[1:]] for title, rows in tables(config_diff(facts(settings=settings))).items()
    }


def test_settings_are_grouped_by_the_file_they_come_from_and_the_last_word_is_first() -> None:
    settings = [
        Setting("A", "1", "0", "configs/base/method.yml:3"),
        Setting("B", "1", "0", "configs/run.yml:7"),
        Setting("C", "<2>", "0", "command line"),
        Setting("D", "1", "0", "configs/run.yml:12"),
        Setting("E", "1", "0", "c:\\base\\other.yml:12"),
        Setting("F", "1", "0", ""),
        Setting("G", "1", "0", "odd:name"),
    ]
    assert list(origin_of(settings).items()) == [
        ("Set on the command line", ["C"]),
        ("Set in configs/run.yml", ["B", "D"]),
        ("Set in odd:name", ["G"]),
        ("From the base configs/base/method.yml", ["A"]),
        ("From the base c:\\base\\other.yml", ["E"]),
        ("Set elsewhere", ["F"]),
    ]
    (row,) = tables(config_diff(facts(settings=settings)))["Set on the command line"][1:]
    assert row == ["C", "&lt;2&gt;", "0"]


def test_settings_without_origins_are_one_table_and_none_are_a_note() -> None:
    section = config_diff(facts(settings=[Setting("A", "1", "0"), Setting("B", "1", "0")]))
    assert [row[0] for row in tables(section)["Not at the default"][1:]] == ["A", "B"]
    assert notes(section) == ["The run did not write down where it got these settings from."]
    assert notes(config_diff(facts())) == ["Every key is at its default."]


def test_the_machine_is_shown_with_its_packages() -> None:
    environment = {"command": "unreid train", "device": None, "packages": {"torch": "2"}, "origins": {"A": "x:1"}}
    section = config_diff(facts(environment=environment))
    assert tables(section)["Machine and versions"][1:] == [["command", "unreid train"], ["device", "–"], ["torch", "2"]]


SCORES = {"mAP": 40.04, "R1": 50.0, "R5": 60.0, "R10": math.nan}


def test_scores_are_those_of_the_results() -> None:
    results = {
        "finished": True,
        "initial": {"W": {"mAP": 10.0, "R1": 20.0}},
        "last": {"epoch": 4, "W": {**SCORES, "mAP_rerank": 60.0, "R1_rerank": 70.0}},
        "best": {"epoch": 3, "selected_by": "label_free: x", "W": SCORES},
    }
    section = scores(facts(results=results))
    assert tables(section)["This run, in percent"] == [
        ["", "mAP", "R1", "R5", "R10"],
        ["W, untrained", "10.0", "20.0", "–", "–"],
        ["W, last epoch (4)", "40.0", "50.0", "60.0", "–"],
        ["W, last epoch (4), re-ranked", "60.0", "70.0", "–", "–"],
        ["W, selected epoch (3), chosen without labels", "40.0", "50.0", "60.0", "–"],
    ]
    assert len(notes(section)) == 1 and "One seed" in notes(section)[0]


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ({"finished": False, "last": {"W": SCORES}}, ["One seed", "has not finished; these are the scores so far"]),
        ({"last": {"W": SCORES}}, ["One seed"]),
        ({}, ["Nothing was evaluated"]),
        ({"finished": False}, ["Nothing was evaluated", "has not finished"]),
    ],
)
def test_what_scores_lack_is_said(results: dict[str, Any], said: list[str]) -> None:
    found = notes(scores(facts(results=results)))
    assert len(found) == len(said) and all(words in text for words, text in zip(said, found))


def test_seeds_have_a_mean_and_a_deviation() -> None:
    repeats: dict[str, Any] = {
        "seed_1": {"last": {"W": {"mAP": 40.0, "R1": 50.0}}},
        "seed_2": {"last": {"W": {"mAP": 44.0}}},
        "seed_3": {},
    }
    section = scores(facts(repeats=repeats))
    assert tables(section)["Last epoch of 3 seeds, in percent"][1:] == [
        ["W, mean ± standard deviation", "42.0 ± 2.8", "50.0 ± 0.0", "–", "–"],
        ["W, seed_1", "40.0", "50.0", "–", "–"],
        ["W, seed_2", "44.0", "–", "–", "–"],
    ]
    assert "2 seeds were run, and none was evaluated." in notes(scores(facts(repeats={"a": {}, "b": {}})))


def test_the_headline_is_the_last_word() -> None:
    rows = rounds(clusters=[8, 7], outliers=[3, 2])
    rows[-1]["label_free"] = 12.4
    results = {"last": {"epoch": 4, "W": SCORES, "M": {"R1": 7.0}}, "best": {"W": {"mAP": 99.0}}}
    assert headline(facts(results=results, rounds=rows)) == [
        *(("mAP, W", "40.0 %"), ("R1, W", "50.0 %"), ("R1, M", "7.0 %")),
        *(("clusters", "7"), ("outliers", "2"), ("label-free score", "12 %")),
    ]
    assert headline(facts()) == []
