"""A hundred thousand crops in the browser: ``pytest -m slow tests/review/test_scale.py -s`` prints what it measures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser import needs_browser, opened
from tests.review.conftest import serving
from tests.review.test_browser import press, until
from unreid.review import CropSet

pytestmark = [*needs_browser, pytest.mark.slow]

CROPS, IDENTITIES, DIM, CAMERAS = 100_000, 5000, 64, 6
UNASSIGNED, LARGEST = 15_000, 10_000
WATCH = """
window.long = [];
new PerformanceObserver((list) => { for (const entry of list.getEntries()) window.long.push(entry.duration); })
  .observe({ entryTypes: ["longtask"] });
"""
SCROLL = """
const done = arguments[arguments.length - 1], scroller = document.querySelector(arguments[0]);
const end = scroller.scrollHeight - scroller.clientHeight;
let frames = 0;
function frame() {
  scroller.scrollTop = end * ((frames++ * 37) % 60) / 60;
  if (frames < 60) requestAnimationFrame(frame);
  else done(document.querySelectorAll("*").length);
}
requestAnimationFrame(frame);
"""


def make_many(folder: Path) -> CropSet:
    """5,000 identities; one cluster of 10,000 crops, 15,000 unassigned; 50 files stand for all images."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, IDENTITIES, CROPS)
    centres = rng.normal(size=(IDENTITIES, DIM)).astype(np.float32)
    features = centres[labels] + 0.5 * rng.normal(size=(CROPS, DIM)).astype(np.float32)
    folder.mkdir()
    paths = []
    for number in range(50):
        path = folder / f"{number}.jpg"
        pixels = np.kron(rng.integers(0, 255, (16, 8, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8))
        Image.fromarray(pixels).save(path)
        paths.append(str(path))
    labels[:UNASSIGNED] = -1
    labels[UNASSIGNED : UNASSIGNED + LARGEST] = 7
    keys = [f"c{number % CAMERAS}/{number:06d}.jpg" for number in range(CROPS)]
    cameras = [str(number % CAMERAS) for number in range(CROPS)]
    return CropSet(keys, [paths[number % 50] for number in range(CROPS)], cameras, labels, features, str(folder))


class Watch:
    """Seconds on the clock and of this process's CPU, and the page's long tasks, of one thing."""

    def __init__(self, page: Any, name: str) -> None:
        self.page, self.name = page, name

    def __enter__(self) -> Watch:
        self.page.execute_script("if (window.long) window.long.length = 0")
        self.started = time.monotonic(), time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        self.wall, self.cpu = time.monotonic() - self.started[0], time.process_time() - self.started[1]
        self.long = self.page.execute_script("return window.long")
        longest = max(self.long, default=0)
        print(f"{self.name}: {self.wall:.2f} s, CPU of the server {self.cpu:.2f} s, longest task {longest:.0f} ms")


def arrived(page: Any, revision: int) -> None:
    until(page, lambda: page.execute_script("return !state.busy && state.revision") == revision)


def test_a_hundred_thousand_crops_do_not_block_page_or_server(tmp_path: Path) -> None:
    started = time.monotonic(), time.process_time()
    with serving(make_many(tmp_path / "images"), tmp_path / "review.sqlite") as server, opened() as page:
        print(f"\nstart: {time.monotonic() - started[0]:.0f} s, CPU {time.process_time() - started[1]:.0f} s")
        page.set_script_timeout(120)
        page.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        with Watch(page, "open the page"):
            page.get(server.url)
            until(page, lambda: page.execute_script("return state.crops.length > 0"))
        with Watch(page, "scroll 5,000 clusters") as watch:
            assert page.execute_async_script(SCROLL, "#clusters") < 2000
        assert max(watch.long, default=0) < 1000
        with Watch(page, "open 15,000 unassigned crops"):
            page.execute_script("return open(-1)")
        with Watch(page, "scroll them") as watch:
            assert page.execute_async_script(SCROLL, "#members") < 2000
        assert max(watch.long, default=0) < 1000
        for cluster, name in ((7, "the cluster of 10,000"), (None, "a doubtful cluster")):
            page.execute_script("return open(arguments[0] ?? state.order[5])", cluster)
            for key, action in (("m", "merge"), ("u", "undo the merge"), ("c", "confirm"), ("u", "undo that")):
                with Watch(page, f"{action}, {name}") as watch:
                    before = page.execute_script("return state.revision")
                    press(page, key)
                    arrived(page, before + 1)
                assert watch.cpu < 1
