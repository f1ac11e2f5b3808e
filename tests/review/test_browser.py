"""The page in a real browser: Chromium of the system, driven by Selenium."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.review.conftest import HOSTILE
from unreid.review import ReviewServer

webdriver: Any = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no chromium with chromedriver here")


@pytest.fixture
def page(server: ReviewServer) -> Iterator[Any]:
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service(DRIVER), options=options)
    try:
        driver.get(server.url)
        until(driver, lambda: driver.execute_script("return state.crops.length > 0"))
        yield driver
    finally:
        driver.quit()


def until(driver: Any, condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, driver.get_log("browser")
        time.sleep(0.02)


def press(driver: Any, key: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(driver).send_keys(key).perform()


def test_a_person_works_with_the_keyboard_and_names_are_no_code(page: Any, server: ReviewServer) -> None:
    """One browser for all of it: starting one takes longer than what it does."""
    store = server.session.store
    assert "token" not in page.current_url
    first = page.execute_script("return [state.current, state.near[0].row[0]]")
    before = store.labels.copy()

    press(page, "m")
    until(page, lambda: store.revision == 1)
    assert (store.labels[before == first[1]] == first[0]).all()
    until(page, lambda: page.execute_script("return !state.busy && state.revision === 1"))
    press(page, "u")
    until(page, lambda: page.execute_script("return !state.busy && state.revision === 2"))
    assert (store.labels == before).all()
    press(page, "y")
    until(page, lambda: page.execute_script("return !state.busy && state.revision === 3"))

    press(page, "j")
    until(page, lambda: page.execute_script(f"return state.current !== {first[0]}"))
    press(page, " ")
    press(page, "n")
    until(page, lambda: store.revision == 4)
    assert (store.labels == -2).sum() == 1

    page.refresh()
    until(page, lambda: page.execute_script("return typeof state !== 'undefined' && state.crops.length > 0"))
    assert page.execute_script("return [state.revision, state.noise]") == [4, 1]

    home = int(store.labels[0])
    page.execute_script(f"open({home}).then(() => focus(state.crops.indexOf(0)))")
    until(page, lambda: HOSTILE in page.execute_script("return document.getElementById('crop').textContent"))
    assert page.execute_script("return window.hacked") is None
    assert page.execute_script("return document.querySelectorAll('img[onerror]').length") == 0
    refused = [entry for entry in page.get_log("browser") if "Content Security Policy" in entry["message"]]
    assert refused == []
