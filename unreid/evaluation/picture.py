"""Sheets of crops: each in its own aspect ratio, framed, over lines of text in a font that knows more than ASCII."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unreid.utils.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

CROP = (128, 64)
"""Height of a drawn crop in pixels, and the least width of its place."""
WIDEST = 192
BORDER, GAP, LINE = 3, 6, 14
CAPTION = 2 * LINE + 2
INK, SOFT, PAPER = (30, 30, 30), (110, 110, 110), (255, 255, 255)


@dataclass(frozen=True)
class Cell:
    """A crop with its frame and two lines.

    Attributes:
        colour: of the frame, RGB.
        caption: first line.
        dashed: the frame is broken, so that it is told from another without its colour.
    """

    path: str
    colour: tuple[int, int, int]
    caption: str = ""
    dashed: bool = False

    @property
    def name(self) -> str:
        """Second line: the file's name, with what is no text spelt out."""
        return os.fsencode(Path(self.path).name).decode("utf-8", "backslashreplace")


def sheet(rows: Sequence[Sequence[Cell]]) -> np.ndarray:
    """Cells of one size, with gaps, on white: uint8 (H, W, 3), RGB; a blank one without cells."""
    from PIL import Image, ImageDraw

    images = [[_read(cell.path) for cell in row] for row in rows]
    inner = _width([image for row in images for image in row if image is not None])
    height, width = CROP[0] + 2 * BORDER + CAPTION, inner + 2 * BORDER
    columns = max((len(row) for row in rows), default=1)
    size = columns * (width + GAP) + GAP, max(len(rows), 1) * (height + GAP) + GAP
    canvas = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(canvas)
    for y, (row, pictures) in enumerate(zip(rows, images)):
        for x, (cell, image) in enumerate(zip(row, pictures)):
            left, top = GAP + x * (width + GAP), GAP + y * (height + GAP)
            _draw(canvas, draw, cell, image, left, top, inner)
    return np.asarray(canvas).copy()


def _draw(canvas: Image, draw: Any, cell: Cell, image: Image | None, left: int, top: int, inner: int) -> None:
    from PIL import Image as Images

    if image is None:
        draw.rectangle((left + BORDER, top + BORDER, left + BORDER + inner, top + BORDER + CROP[0]), (200, 200, 200))
        draw.line((left + BORDER, top + BORDER, left + BORDER + inner, top + BORDER + CROP[0]), INK)
    else:
        scale = min(CROP[0] / image.height, inner / image.width)
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        small = image.resize(size, Images.Resampling.BOX if scale < 1 else Images.Resampling.BICUBIC)
        canvas.paste(small, (left + BORDER + (inner - size[0]) // 2, top + BORDER + (CROP[0] - size[1]) // 2))
    _frame(draw, cell, left, top, inner)
    below = top + CROP[0] + 2 * BORDER + 1
    draw.text((left, below), _cut(cell.caption, inner + 2 * BORDER), INK, font=_font(11))
    draw.text((left, below + LINE), _cut(cell.name, inner + 2 * BORDER, 9), SOFT, font=_font(9))


def _frame(draw: Any, cell: Cell, left: int, top: int, inner: int) -> None:
    right, bottom = left + inner + 2 * BORDER - 1, top + CROP[0] + 2 * BORDER - 1
    draw.rectangle((left, top, right, bottom), outline=cell.colour, width=BORDER)
    if not cell.dashed:
        return
    for start in range(left + 8, right - BORDER, 12):
        for edge in (top, bottom - BORDER + 1):
            draw.rectangle((start, edge, start + 4, edge + BORDER - 1), PAPER)
    for start in range(top + 8, bottom - BORDER, 12):
        for edge in (left, right - BORDER + 1):
            draw.rectangle((edge, start, edge + BORDER - 1, start + 4), PAPER)


def _width(images: Sequence[Image]) -> int:
    """Width of all places: that of the widest crops at full height, within bounds."""
    if not images:
        return CROP[1]
    ratio = float(np.quantile([image.width / image.height for image in images], 0.9))
    return int(np.clip(round(CROP[0] * ratio), CROP[1], WIDEST))


def _read(path: str) -> Image | None:
    from unreid.data.reading import read_image

    try:
        return read_image(path).convert("RGB")
    except UserError:
        return None


@lru_cache(maxsize=8)
def _font(size: int) -> FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def _cut(text: str, width: int, size: int = 11) -> str:
    """As much of a text as fits, with an ellipsis where something is missing."""
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
