"""The page: sections under a list of contents, with their style and script inside."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import unreid
from unreid.report.activation import activation
from unreid.report.cameras import cameras
from unreid.report.config_diff import config_diff
from unreid.report.crops import BUDGET, Crops
from unreid.report.embedding_map import embedding_map
from unreid.report.facts import Facts
from unreid.report.history import history
from unreid.report.markup import Html, joined, note, tag
from unreid.report.mosaics import mosaics
from unreid.report.ranked import ranked
from unreid.report.scores import headline, scores
from unreid.report.section import Section
from unreid.report.sweep import sweep
from unreid.utils.progress import task
from unreid.utils.writing import atomic_write_bytes

logger = logging.getLogger(__name__)

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""What a browser may load for the page: nothing but what is in it."""


def write_report(facts: Facts, path: str | Path) -> int:
    """Writes the page and returns its bytes; raises :class:`UnwritableError` where the system refuses the file."""
    data = page(facts).encode("utf-8")
    atomic_write_bytes(path, data)
    return len(data)


def page(facts: Facts, *, budget: int = BUDGET) -> str:
    """The whole document, with pictures of so many bytes at most."""
    crops = Crops(budget)
    makers: list[tuple[str, Callable[[], Section]]] = [
        ("scores", lambda: scores(facts)),
        ("curves", lambda: history(facts)),
        ("sweep of eps", lambda: sweep(facts)),
        ("clusters", lambda: mosaics(facts, crops)),
        ("ranked lists", lambda: ranked(facts, crops)),
        ("map of the features", lambda: embedding_map(facts, crops)),
        ("activation maps", lambda: activation(facts, crops)),
        ("cameras", lambda: cameras(facts)),
        ("config", lambda: config_diff(facts)),
    ]
    sections = []
    with task("drawing", len(makers), "parts") as work:
        for name, make in makers:
            started = time.monotonic()
            sections.append(make())
            work.advance()
            logger.debug("%s: %.1f s", name, time.monotonic() - started)
    return _document(facts, sections, crops)


def _document(facts: Facts, sections: list[Section], crops: Crops) -> str:
    title = f"{facts.method} on {', '.join(facts.datasets)}"
    numbers = [tag("div", tag("dt", name), tag("dd", value)) for name, value in headline(facts)]
    contents = [tag("li", tag("a", part.title, href=f"#{part.name}")) for part in sections]
    head = tag(
        "header",
        tag("h1", title),
        tag("p", tag("code", facts.folder), f", {facts.state}; unreid {unreid.__version__}", class_="note"),
        tag("dl", numbers, class_="numbers") if numbers else None,
    )
    remarks = []
    if crops.unreadable:
        remarks.append(note(f"{len(crops.unreadable)} image files could not be read."))
    if crops.left_out:
        remarks.append(note(f"{crops.left_out} pictures were left out, so that the page stays small."))
    body = joined(
        tag("a", "Skip to the report", href="#scores", class_="skip"),
        head,
        tag("nav", tag("ol", contents), aria_label="contents"),
        tag("main", [_section(part) for part in sections], remarks),
        tag("script", Html(_asset("report.js"))),
    )
    top = joined(
        Html('<meta charset="utf-8">'),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} – unreid report"),
        tag("style", Html(_asset("report.css"))),
        [part.style for part in sections],
    )
    return "<!DOCTYPE html>\n" + tag("html", tag("head", top), tag("body", body), lang="en") + "\n"


def _section(part: Section) -> Html:
    heading = tag("h2", part.title, id=f"{part.name}-title")
    return tag("section", heading, part.body, id=part.name, aria_labelledby=f"{part.name}-title")


def _asset(name: str) -> str:
    return resources.files("unreid.report").joinpath("assets", name).read_text(encoding="utf-8")
