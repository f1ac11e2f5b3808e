"""Small pictures of crops, made when they are asked for and kept in memory."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict

from PIL import Image

from unreid.data.decoding import read_image

SIZES = {"thumb": (176, 264), "image": (1280, 1280)}
"""Box that a picture is made to fit into, in pixels; smaller ones stay as they are."""
CACHED = 128 * 2**20  # bytes


class Thumbnails:
    """JPEG files of images by path, the least recently used ones forgotten.

    Pictures are decoded and encoded anew, so that nothing but a picture ever leaves, whatever a file holds.
    """

    def __init__(self, capacity: int = CACHED) -> None:
        self.capacity = capacity
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def __call__(self, path: str, size: str) -> bytes:
        """The JPEG file.

        Raises:
            UserError: the image cannot be read.
        """
        key = (path, size)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        content = _encode(read_image(path), SIZES[size])
        with self._lock:
            if key not in self._kept:
                self._kept[key] = content
                self._size += len(content)
            while self._size > self.capacity and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1])
        return content


def _encode(image: Image.Image, box: tuple[int, int]) -> bytes:
    image.thumbnail(box, Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
