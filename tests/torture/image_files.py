"""Valid image files of every format and mode that Pillow writes and the package reads, and ways to damage them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from unreid.data.formats import image_suffixes

SIZE = (12, 24)  # width, height
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "I;16B", "F")
EXTRAS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("JPEG", "RGB", {"progressive": True}),
    ("JPEG", "RGB", {"quality": 100, "subsampling": 0}),
    ("PNG", "P", {"transparency": 3}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("JPEG2000", "RGB", {"irreversible": True}),
    *(("TIFF", "RGB", {"compression": name}) for name in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")),
    ("TIFF", "1", {"compression": "group4"}),
    ("TIFF", "I;16", {"compression": "tiff_lzw"}),
    ("TGA", "RGB", {"compression": "tga_rle"}),
    ("ICO", "RGBA", {"bitmap_format": "bmp"}),
    *((name, "RGB", {"save_all": True, "frames": 3}) for name in ("GIF", "PNG", "WEBP", "TIFF", "MPO")),
)


@dataclass(frozen=True)
class ImageFile:
    """A valid image file.

    Attributes:
        name: format, mode and options.
        suffix: one of the format's own.
        data: the bytes.
    """

    name: str
    suffix: str
    data: bytes


def image_files() -> list[ImageFile]:
    """One file for every format and mode, and some for their options; a few kB each."""
    Image.init()
    suffixes = {name: suffix for suffix, name in sorted(Image.EXTENSION.items()) if suffix in image_suffixes()}
    wanted = [(name, mode, {}) for name in sorted(Image.SAVE) if name in suffixes for mode in MODES]
    # ICNS has no small size: a file of it takes longer than all others together.
    files = [_encoded(*spec, suffixes) for spec in (*wanted, *EXTRAS) if spec[0] in suffixes and spec[0] != "ICNS"]
    return [file for file in files if file is not None]


def picture(mode: str) -> Image.Image:
    """A smooth picture in one of :data:`MODES`."""
    coarse = np.random.default_rng(0).integers(0, 256, (5, 3, 3), dtype=np.uint8)
    colour = Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC)
    if mode.startswith("I;16"):
        deep = np.asarray(colour.convert("L")).astype(np.uint16) * 257
        return Image.frombytes(mode, SIZE, deep.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    if mode == "LAB":
        return Image.frombytes("LAB", SIZE, colour.tobytes())
    return colour.convert("P").convert("PA") if mode == "PA" else colour.convert(mode)


def _encoded(name: str, mode: str, options: dict[str, Any], suffixes: dict[str, str]) -> ImageFile | None:
    buffer, image = io.BytesIO(), picture(mode)
    more: dict[str, Any] = {key: value for key, value in options.items() if key != "frames"}
    if "frames" in options:
        more["append_images"] = [image.rotate(90 * i) for i in range(1, options["frames"])]
    exif = Image.Exif()
    exif[0x0112] = 6
    if name in ("JPEG", "PNG", "WEBP", "AVIF", "MPO"):
        more["exif"] = exif
    try:
        image.save(buffer, name, **more)
    except (OSError, ValueError, KeyError, SystemError):
        return None  # the format has no such mode
    return ImageFile(f"{name} {mode} {options or ''}".strip(), suffixes[name], buffer.getvalue())


Damage = Callable[[bytes, np.random.Generator], bytes]


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    """The beginning of the file."""
    return data[: int(rng.integers(1, len(data)))]


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for place in rng.integers(0, len(data), int(rng.integers(1, 9))):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _blank(data: bytes, rng: np.random.Generator) -> bytes:
    start, length = int(rng.integers(0, len(data))), int(rng.integers(1, max(2, len(data) // 3)))
    return data[:start] + bytes([int(rng.choice([0, 255]))]) * min(length, len(data) - start) + data[start + length :]


def _edit_header(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for place in rng.integers(0, min(96, len(data)), int(rng.integers(1, 5))):
        changed[place] = int(rng.choice([0, 1, 2, 16, 127, 128, 254, 255]))
    return bytes(changed)


def _huge_numbers(data: bytes, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(0, min(96, len(data))))
    return data[:place] + bytes(rng.choice([0, 127, 255], 4).tolist()) + data[place + 4 :]


def _wrong_magic(data: bytes, rng: np.random.Generator) -> bytes:
    return rng.bytes(int(rng.integers(1, 9))) + data[8:]


def _shuffle(data: bytes, rng: np.random.Generator) -> bytes:
    a, b = sorted(rng.integers(0, len(data), 2).tolist())
    return data[:a] + data[b:] + data[a:b]


def _empty(data: bytes, rng: np.random.Generator) -> bytes:
    return b""


def harmless(data: bytes, rng: np.random.Generator) -> bytes:
    """The whole file with garbage after it."""
    return data + rng.bytes(int(rng.integers(1, 4096)))


DAMAGES: tuple[Damage, ...] = (
    cut,
    cut,
    _flip,
    _flip,
    _blank,
    _edit_header,
    _edit_header,
    _huge_numbers,
    _wrong_magic,
    _shuffle,
    _empty,
    harmless,
)
