"""Pictures inside the page: crops in their own aspect ratio, as JPEG in data URIs, within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from unreid.report.markup import Html, tag
from unreid.structures import Tracklet
from unreid.utils.errors import UserError

HEIGHT, WIDTH = 128, 128  # of a crop, at most
BUDGET = 14 * 2**20  # bytes of all pictures of a page
_QUALITY = 78


class Crops:
    """Turns image files into ``<img>`` elements.

    Args:
        budget: bytes that all pictures together may take; those that no longer fit are left out, which is counted.

    Attributes:
        left_out: pictures that did not fit.
        unreadable: files that could not be read.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self.budget = budget
        self.left_out = 0
        self.unreadable: set[str] = set()
        self._spent = 0
        self._known: dict[str, tuple[str, int, int] | None] = {}

    def figure(self, tracklet: Tracklet, *caption: object, mark: str = "", alt: str = "") -> Html:
        """A crop over its caption; its file name is below, cut short where it is long."""
        name = Path(tracklet.paths[0]).name
        frames = f", {len(tracklet.paths)} frames" if len(tracklet.paths) > 1 else ""
        words = tag("figcaption", caption, tag("span", name, class_="file", title=f"{tracklet.paths[0]}{frames}"))
        return tag("figure", self.image(tracklet.paths[0], alt or name), words, class_=f"crop {mark}".strip())

    def image(self, path: str, alt: str) -> Html:
        """The picture of a file, or a box that says that there is none."""
        if path not in self._known:
            image = self._read(path)
            self._known[path] = None if image is None else _small(image)
        found = self._known[path]
        return tag("span", "unreadable", class_="hole") if found is None else self._placed(*found, alt=alt)

    def picture(self, pixels: np.ndarray, alt: str) -> Html:
        """uint8 (H, W, 3), RGB, as an element."""
        return self._placed(*_small(Image.fromarray(pixels)), alt=alt)

    def sheet(self, paths: Sequence[str], cell: tuple[int, int], columns: int) -> str | None:
        """A data URI with all pictures in a grid of cells (height, width), letter-boxed; None: it does not fit."""
        height, width = cell
        rows = -(-len(paths) // columns)
        canvas = Image.new("RGB", (columns * width, max(rows, 1) * height), (128, 128, 128))
        for place, path in enumerate(paths):
            image = self._read(path)
            if image is not None:
                image.thumbnail((width, height), Image.Resampling.BILINEAR)
                left = place % columns * width + (width - image.width) // 2
                canvas.paste(image, (left, place // columns * height + (height - image.height) // 2))
        uri = _uri(_jpeg(canvas))
        return uri if self._spend(len(uri)) else None

    def _read(self, path: str) -> Image.Image | None:
        from unreid.data.reading import read_image

        try:
            return read_image(path).convert("RGB")
        except UserError:
            self.unreadable.add(path)
            return None

    def _spend(self, count: int) -> bool:
        if self._spent + count > self.budget:
            self.left_out += 1
            return False
        self._spent += count
        return True

    def _placed(self, uri: str, width: int, height: int, *, alt: str) -> Html:
        """A picture costs its bytes wherever it stands: a page has no way to name it twice."""
        if not self._spend(len(uri)):
            return tag("span", "left out", class_="hole")
        return tag("img", src=Html(uri), width=width, height=height, alt=alt)


def _small(image: Image.Image) -> tuple[str, int, int]:
    """Data URI, width and height."""
    image.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    return _uri(_jpeg(image)), image.width, image.height


def _jpeg(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=_QUALITY, optimize=True)
    return data.getvalue()


def _uri(data: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()
