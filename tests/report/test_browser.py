"""The page in a real browser: from disk, with keys and pointer, on a phone and on paper."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser import NARROW, WIDE, complaints, needs_browser, opened, resize
from tests.report.worlds import make_facts
from unreid.report import write_report

pytestmark = needs_browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened() as driver:
        yield driver


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    write_report(make_facts(folder), folder / "report.html")
    return (folder / "report.html").as_uri()


@pytest.fixture
def shown(browser: Any, report: str) -> Any:
    resize(browser, WIDE, 900)
    browser.get(report)
    return browser


def test_it_opens_from_disk_without_a_complaint_and_without_a_request(shown: Any) -> None:
    assert complaints(shown) == []
    loaded = shown.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []
    blank = shown.execute_script("return [...document.images].filter(i => !i.naturalWidth).length")
    assert blank == 0 and shown.execute_script("return document.images.length") > 50
    assert shown.execute_script("return document.scripts.length") == 2
    assert "ClusterContrast on W <b>" in shown.title


def test_every_picture_keeps_its_aspect_ratio(shown: Any) -> None:
    """Drawn at its own ratio, or fitted into its place with room left."""
    fits = shown.execute_script(
        "return [...document.querySelectorAll('.crop img')].map(i => getComputedStyle(i).objectFit)"
    )
    assert set(fits) == {"contain"}


def test_the_keys_walk_over_the_map_and_escape_leaves_it(shown: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    drawing = shown.find_element(By.ID, "map-points")
    box = shown.find_element(By.ID, "map-crop")
    assert not box.is_displayed()
    drawing.send_keys(Keys.ARROW_RIGHT)
    first = shown.find_element(By.ID, "map-says").text
    assert box.is_displayed() and ".png" in first and "cluster" in first
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.ARROW_UP):
        drawing.send_keys(key)
    seen = shown.find_element(By.ID, "map-says").text
    assert seen != first
    edge = shown.execute_script(
        "const a = arguments[0].getBoundingClientRect(), b = arguments[0].parentElement.getBoundingClientRect();"
        "return [a.left - b.left, b.right - a.right]",
        box,
    )
    assert min(edge) >= -1, "the crop stays inside the map"
    drawing.send_keys(Keys.ESCAPE)
    assert not box.is_displayed()


def test_the_pointer_shows_a_crop_and_a_choice_changes_the_colours(shown: Any) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    point = shown.find_element(By.CSS_SELECTOR, "#map-points > use")
    shown.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", point)
    ActionChains(shown).move_to_element(point).perform()
    assert shown.find_element(By.ID, "map-crop").is_displayed()
    state = "return [...document.querySelectorAll('#map-points > use')].map(u => u.getAttribute('class')).join()"
    before = shown.execute_script(state)
    choice = shown.find_element(By.CSS_SELECTOR, "input[value='camera']")
    shown.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", choice)
    choice.click()
    assert shown.execute_script(state) != before
    legends = shown.find_elements(By.CSS_SELECTOR, ".map-legend")
    assert [one.get_attribute("data-by") for one in legends if one.is_displayed()] == ["camera"]


def test_a_phone_scrolls_in_one_direction(shown: Any) -> None:
    resize(shown, NARROW, 844)
    shown.refresh()
    assert shown.execute_script("return document.documentElement.scrollWidth") <= NARROW
    hidden = "return [...document.querySelectorAll('.heat')].filter(e => e.offsetWidth > innerWidth).length"
    assert shown.execute_script(hidden) == 0, "a table of three cameras is seen whole"
    small = shown.execute_script(
        "return [...document.querySelectorAll('p, td, figcaption, li')].filter(e => e.offsetParent &&"
        " parseFloat(getComputedStyle(e).fontSize) < 11).length"
    )
    assert small == 0


def test_paper_has_the_pictures_and_no_controls(shown: Any) -> None:
    printed = shown.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")
    shown.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        hidden = "return ['nav', '.choice', '#map-crop'].map(s => getComputedStyle(document.querySelector(s)).display)"
        assert set(shown.execute_script(hidden)) == {"none"}
        assert shown.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    finally:
        shown.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(shown: Any, scheme: str) -> None:
    shown.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    shown.refresh()
    ratios = shown.execute_script(
        """
        const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map((v) => {
          v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
          return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const paper = light(getComputedStyle(document.body).backgroundColor);
        return [...document.querySelectorAll("p, a, th, figcaption, h2, summary")].map((e) => {
          const ink = light(getComputedStyle(e).color);
          return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05); });
        """
    )
    assert min(ratios) >= 4.5, "WCAG AA"


def test_the_page_can_be_read_by_keyboard(shown: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    shown.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    focus = shown.switch_to.active_element
    assert focus.get_attribute("class") == "skip"
    focus.send_keys(Keys.ENTER)
    assert shown.current_url.endswith("#scores")
    unnamed = shown.execute_script(
        "return [...document.querySelectorAll('[tabindex], input, summary, svg[role=img]')].filter(e =>"
        " !(e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label'))).length"
    )
    assert unnamed == 0
