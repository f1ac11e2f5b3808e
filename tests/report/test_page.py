"""The page: self-contained, well-formed, escaped, and complete whatever is missing."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.report.worlds import HOSTILE, make_facts, make_samples
from unreid.report import Facts, write_report
from unreid.report.charts import Series, line_chart, ticks
from unreid.report.crops import Crops
from unreid.report.embedding_map import flattened
from unreid.report.markup import escaped, tag
from unreid.report.mosaics import clusters_of
from unreid.report.page import page

VOID = {"meta", "img", "input", "br", "hr"}
SECTIONS = ["scores", "history", "sweep", "clusters", "ranked", "map", "activation", "cameras", "config"]


class Reader(HTMLParser):
    """Elements of a document, and what is wrong with their nesting."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((name, dict(attrs)))
        if len(dict(attrs)) != len(attrs):
            self.wrong.append(f"{name} has an attribute twice")
        if name not in VOID:
            self.open.append(name)

    def handle_startendtag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((name, dict(attrs)))

    def handle_endtag(self, name: str) -> None:
        if not self.open or self.open[-1] != name:
            self.wrong.append(f"</{name}> closes {self.open[-1:]}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page(make_facts(tmp_path_factory.mktemp("world")))


def test_the_page_is_well_formed_and_has_all_its_parts(whole: str) -> None:
    read = Reader(whole)
    assert read.wrong == [] and read.open == []
    ids = [attrs["id"] for _, attrs in read.found if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert [attrs["id"] for name, attrs in read.found if name == "section"] == SECTIONS
    links = {attrs["href"] for name, attrs in read.found if name == "a"}
    assert {link[1:] for link in links if link} <= set(ids)
    assert all(attrs.get("alt") for name, attrs in read.found if name == "img")
    assert whole.startswith("<!DOCTYPE html>\n") and ("html", {"lang": "en"}) in read.found


def test_nothing_is_loaded_from_anywhere(whole: str) -> None:
    read = Reader(whole)
    for name, attrs in read.found:
        assert not {"srcset", "action", "formaction", "data", "poster"} & attrs.keys() or name == "object"
        for key in ("src", "href"):
            if key in attrs:
                assert (attrs[key] or "").startswith(("data:image/jpeg;base64,", "#")), (name, attrs)
    assert not {"link", "iframe", "object", "embed", "base"} & {name for name, _ in read.found}
    urls = re.findall(r"url\(([^)]{5})", whole)
    assert urls and set(urls) == {"data:"} and "@import" not in whole
    policy = next(attrs["content"] for _, attrs in read.found if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy and "default-src 'none'" in policy


def test_names_of_files_are_text_however_they_are_spelt(whole: str) -> None:
    read = Reader(whole)
    assert [name for name, _ in read.found].count("script") == 2
    assert not [(name, key) for name, attrs in read.found for key in attrs if key.startswith("on")]
    allowed = {"use", "path", "text", "line", "title", "svg", "g", "defs", "p", "div", "span", "figure", "figcaption"}
    allowed |= {
        "html",
        "head",
        "meta",
        "style",
        "body",
        "a",
        "header",
        "h1",
        "h2",
        "h3",
        "code",
        "dl",
        "dt",
        "dd",
        "nav",
    }
    allowed |= {"ol", "ul", "li", "main", "section", "table", "caption", "thead", "tbody", "tr", "th", "td", "strong"}
    allowed |= {"details", "summary", "img", "fieldset", "legend", "label", "input", "script", "i"}
    assert {name for name, _ in read.found} <= allowed, "a name has become an element"
    words = "".join(read.words)
    assert "<img src=x onerror=alert(1)>" in words and "дом 家 é" in words
    assert "\x1b" not in whole and not re.search("[\ud800-\udfff]", whole)
    whole.encode("utf-8")


@given(st.text(alphabet=st.characters(), max_size=40))
def test_any_text_survives_as_text(text: str) -> None:
    read = Reader(f'<p>{escaped(text)}</p><p title="{escaped(text)}">')
    assert [name for name, _ in read.found] == ["p", "p"] and read.wrong == []
    assert read.found[1][1].keys() == {"title"}
    tag("b", text).encode("utf-8")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_an_attribute_and_a_caption(tmp_path: Path, name: str) -> None:
    samples = make_samples(tmp_path, 1)
    record = replace(samples.tracklets[0], paths=(f"{tmp_path}/{name}",))
    read = Reader(Crops().figure(record, "c1"))
    assert read.wrong == [] and read.open == []
    assert {found for found, _ in read.found} <= {"figure", "span", "figcaption"}


def test_the_pictures_obey_their_budget(tmp_path: Path) -> None:
    facts = make_facts(tmp_path)
    whole, small = page(facts), page(facts, budget=4000)
    spent = [sum(map(len, re.findall(r"data:image/jpeg;base64,([^\")]*)", text))) for text in (whole, small)]
    assert spent[1] <= 4000 < spent[0] / 4 and "pictures were left out" in small and "left out</p>" not in whole
    assert Reader(small).wrong == []


def test_a_file_that_is_gone_is_a_hole_and_is_counted(tmp_path: Path) -> None:
    facts = make_facts(tmp_path)
    assert facts.train is not None
    for path in facts.train.paths:
        Path(path).unlink()
    text = page(facts)
    assert "image files could not be read" in text and "unreadable" in text


def test_a_run_with_nothing_but_its_name_says_what_is_missing(tmp_path: Path) -> None:
    bare = Facts("logs/x", "BUC", "DBSCAN", ["ImageFolder"], "under way or cut off")
    bare.missing = {"features": "The images are elsewhere <b>."}
    size = write_report(bare, tmp_path / "deep" / "report.html")
    text = (tmp_path / "deep" / "report.html").read_text(encoding="utf-8")
    assert size == len(text.encode()) and text.count("The images are elsewhere &lt;b&gt;.") >= 4
    read = Reader(text)
    assert read.wrong == [] and [a["id"] for name, a in read.found if name == "section"] == SECTIONS


def test_without_labels_nothing_is_called_right(tmp_path: Path) -> None:
    train = make_samples(tmp_path, 60, labelled=False)
    text = page(make_facts(tmp_path, train=train, test=None, results={}, repeats={}))
    body = text[text.index("<body>") :]
    assert "no AP" in body and "purity" not in body and 'class="crop right"' not in body
    assert 'class="crop same"' in body and "identity" not in re.search(r"<fieldset.*?</fieldset>", body, re.S)[0]  # type: ignore[index]


def test_who_is_not_known_is_no_main_identity(tmp_path: Path) -> None:
    train = make_samples(tmp_path, 60)
    assert train.pids is not None and train.labels is not None
    pids = np.where(np.arange(60) < 45, -1, train.pids)
    text = page(make_facts(tmp_path, train=replace(train, pids=pids)))
    data = json.loads(re.search(r'id="map-data">(.*?)</script>', text, re.S)[1])  # type: ignore[index]
    code = np.array(data["groups"]["truth"])
    assert ((code == 3) == ((pids < 0) & (train.labels >= 0))).all() and (code[45:][train.labels[45:] >= 0] == 0).all()
    assert data["words"]["truth"][3] == "identity not known"
    assert "identity not known" not in page(make_facts(tmp_path, train=train))


def test_without_cameras_none_is_named(tmp_path: Path) -> None:
    train = make_samples(tmp_path, 60, cameras=1)
    text = page(make_facts(tmp_path, train=train, test=None, has_cameras=False))
    assert "no camera labels" in text and "camera 1" not in text


def test_words_follow_the_method(tmp_path: Path) -> None:
    rows = [{"round": r, "clusters": 9, "outliers": 0, "largest": 3, "mean_size": 2, "alone": 9 - r} for r in range(3)]
    text = page(make_facts(tmp_path, rounds=rows, labelling="merging"))
    assert "round of merging" in text and "alone in a cluster" in text
    clusters = text[text.index("<figcaption>Clusters") :]
    assert "outliers" not in clusters[: clusters.index("</figure>")]


def test_clusters_know_their_cameras_doubt_and_purity(tmp_path: Path) -> None:
    samples = make_samples(tmp_path, 60)
    assert samples.labels is not None
    for cluster in clusters_of(samples):
        members = np.flatnonzero(samples.labels == cluster.name)
        assert sorted(cluster.members) == members.tolist()
        assert cluster.cameras == len(set(samples.camids[members])) and cluster.purity == 1.0
        assert -1 <= cluster.silhouette <= 1


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_cover_the_range_with_few_round_numbers(low: float, span: float) -> None:
    found = ticks(low, low + span)
    slack = 1e-6 * max(abs(low), span)
    assert found[0] <= low + slack and found[-1] >= low + span - slack and 2 <= len(found) <= 12
    assert found == sorted(set(found))


def test_a_chart_tells_its_lines_apart_without_colour_and_folds_the_numbers_away() -> None:
    chart = line_chart(
        "T", [Series("a", [0, 1], [1, 2]), Series("b", [0, 1], [2, float("nan")])], x_label="x", y_label="y"
    )
    read = Reader(chart)
    dashes = {attrs.get("stroke-dasharray") for name, attrs in read.found if attrs.get("class") == "line"}
    shapes = {attrs["d"] for name, attrs in read.found if attrs.get("class") == "shape"}
    assert len(dashes) == 2 and len(shapes) == 2
    assert "a from 1 to 2; b from 2 to 2" in chart and "<summary>The numbers</summary>" in chart
    assert "no numbers" in line_chart("T", [Series("a", [0], [float("nan")])], x_label="x", y_label="y")


@pytest.mark.parametrize("content", ["class UMAP", "raise ImportError('made for another NumPy')", ""])
def test_the_map_is_drawn_with_umap_or_without(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """umap-learn that works, that cannot be imported, and another package of that name."""
    works = "class" in content
    if works:
        content = (
            "class UMAP:\n    def __init__(self, metric, random_state, min_dist):\n        assert min_dist < 1\n"
            "    def fit_transform(self, x):\n        return x[:, :2]\n"
        )
    (tmp_path / "umap.py").write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "umap", raising=False)
    places, how = flattened(torch.randn(20, 8, generator=torch.Generator().manual_seed(0)))
    monkeypatch.delitem(sys.modules, "umap", raising=False)
    assert how == ("UMAP" if works else "t-SNE") and places.shape == (20, 2)
    assert ("cannot be used" in caplog.text) == (not works)
