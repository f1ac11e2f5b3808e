"""Pictures of the documentation, made anew from the rendered world: ``make screenshots``.

    python benchmarks/screenshots.py [--out docs/images] [--run FOLDER]

Trains the demo (a minute or two), writes its report, opens it for review and takes pictures of both in Chromium; the
ranked list of the run is copied beside them. Nothing in them comes from a real person. Needs the packages chromium and
chromium-driver of the system and selenium.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import checkout  # noqa: F401

RUN = "logs/demo"
QUALITY = 82
SETTLED = 3  # seconds in which the thumbnails of a page arrive


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder of the pictures")
    parser.add_argument("--run", type=Path, help="a run that is there already, instead of training one")
    arguments = parser.parse_args()
    from tests.browser import opened, why_none

    reason = why_none()
    if reason:
        sys.stderr.write(f"{reason}\n")
        return 2
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        run = train(Path(place)) if arguments.run is None else arguments.run.resolve()
        shutil.copy(run / "ranked_list.jpg", out / "ranked_list.jpg")
        report(run, Path(place) / "report.html")
        with opened(width=1180, height=1080) as driver:
            shoot_report(driver, (Path(place) / "report.html").as_uri(), out)
        with reviewed(run, Path(place) / "review.sqlite") as page, opened(width=1180, height=820) as driver:
            driver.get(page)
            time.sleep(SETTLED)
            save(driver, out / "review.jpg", 0, 1180, 820)
    return 0


def train(place: Path) -> Path:
    """The demo as a user runs it, in an empty folder: no path of this machine is in its pictures."""
    from unreid.engine.cli import main as unreid

    with contextlib.chdir(place):
        if unreid(["demo", "OUTPUT_DIR", RUN]):
            raise SystemExit("the demo failed")
    return place / RUN


def report(run: Path, page: Path) -> None:
    """The report of a run, named as its config names it."""
    from unreid.engine.cli import main as unreid

    root = run.parents[len(Path(RUN).parts) - 1]
    with contextlib.chdir(root):
        if unreid(["report", os.path.relpath(run, root), "-o", str(page)]):
            raise SystemExit("the report failed")


@contextlib.contextmanager
def reviewed(run: Path, store: Path) -> Iterator[str]:
    """Address of the review page of a run while it is served, with answers in a store of its own."""
    command = [sys.executable, "-m", "unreid", "review", "--port", "0", "--store", str(store), str(run)]
    paths = os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths}
    root = run.parents[len(Path(RUN).parts) - 1]
    process = subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Open "):
                yield line.removeprefix("Open ").strip()
                return
        raise SystemExit("the review page was not served")
    finally:
        process.terminate()
        process.wait()


def shoot_report(driver: Any, page: str, out: Path) -> None:
    """Its beginning, its ranked lists, its map with a crop, and its beginning on a phone."""
    from tests.browser import NARROW, resize

    driver.get(page)
    save(driver, out / "report.jpg", 0, 1180, 1080)
    save(driver, out / "report_ranked.jpg", top(driver, "#ranked .cluster") - 12, 1180, 640)
    driver.execute_script("document.getElementById('map-points').focus({preventScroll: true})")
    key = "document.getElementById('map-points').dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0]}))"
    for word in ("ArrowRight", "ArrowDown", "ArrowRight"):
        driver.execute_script(key, word)
    save(driver, out / "report_map.jpg", top(driver, "#map .choice") - 8, 780, 820)
    resize(driver, NARROW, 844)
    driver.get(page)
    save(driver, out / "report_phone.jpg", 0, NARROW, 844)


def top(driver: Any, selector: str) -> int:
    """Distance of an element from the top of the page, in pixels."""
    script = "return document.querySelector(arguments[0]).getBoundingClientRect().top + window.scrollY"
    return round(driver.execute_script(script, selector))


def save(driver: Any, path: Path, start: int, width: int, height: int) -> None:
    """A part of the page as a file."""
    import base64

    from PIL import Image

    clip = {"x": 0, "y": max(start, 0), "width": width, "height": height, "scale": 1}
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    picture = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
    picture.save(path, quality=QUALITY, optimize=True)
    sys.stdout.write(f"{path} {picture.width}x{picture.height}, {path.stat().st_size // 1024} kB\n")


if __name__ == "__main__":
    sys.exit(main())
