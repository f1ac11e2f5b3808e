"""The pages as a reader has them, opened from disk in Chromium: search, pictures and width, without any network."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import NARROW, needs_browser, opened, resize

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("index", "demo", "weights", "own_crops", "transfer", "compose", "library", "migrating", "config", "commands")

pytestmark = [pytest.mark.slow, *needs_browser]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(place)]
    subprocess.run(words, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True)
    return place


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened() as driver:
        driver.execute_cdp_cmd("Network.enable", {})
        driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["http://*", "https://*"]})
        yield driver


def visit(browser: Any, site: Path, page: str) -> None:
    browser.get((site / f"{page}.html").as_uri())


def found(browser: Any, words: str) -> list[str]:
    """Addresses that the search offers, once it has settled."""
    box = browser.find_element("css selector", "input.md-search__input")
    browser.execute_script("document.querySelector('#__search').click(); arguments[0].focus()", box)
    box.clear()
    box.send_keys(words)
    for _ in range(100):
        links = browser.find_elements("css selector", "a.md-search-result__link")
        if links:
            return [link.get_attribute("href") for link in links]
        time.sleep(0.1)
    return []


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("CLUSTER.CAMERA_CENTERED", "config.html"),
        ("harmonic discrepancy", "methods.html"),
        ("jaccard_graph", "api/neighbors.html"),
        ("ring exchange", "scale.html"),
        ("rendered_o2cap", "weights"),
    ],
)
def test_the_search_finds(browser: Any, site: Path, words: str, page: str) -> None:
    visit(browser, site, "index")
    assert any(page in address for address in found(browser, words))


@pytest.mark.parametrize("page", PAGES)
def test_pictures_load_and_a_phone_need_not_scroll_sideways(browser: Any, site: Path, page: str) -> None:
    visit(browser, site, page)
    script = "return [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
    assert browser.execute_script(script) == []
    resize(browser, NARROW, 800)
    try:
        visit(browser, site, page)
        width = browser.execute_script("return document.documentElement.scrollWidth")
        assert width <= NARROW + 1
    finally:
        resize(browser, 1280, 900)


def test_a_class_of_the_api_has_signature_shapes_errors_and_source(browser: Any, site: Path) -> None:
    visit(browser, site, "api/evaluation")
    text = browser.find_element("tag name", "article").text
    for word in ("cmc_map", "Parameters", "Returns", "Raises", "(Q, G)"):
        assert word in text, word


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for start in ('<script src="http', '<link rel="stylesheet" href="http', '<img src="http'):
            assert start not in text, f"{page.name}: {start}"
