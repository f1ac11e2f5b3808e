"""From any image file to upright 8-bit RGB: the one function that opens images."""

from __future__ import annotations

import logging
import warnings

import numpy as np
from PIL import Image

from unreid.data.formats import formats_for, why_not_a_file
from unreid.utils.errors import UserError

MAX_PIXELS = 2**26
"""Pixels of the largest image that is read (8192 x 8192): decoded it takes a quarter of a GiB in every worker."""

_ORIENTATION = 0x0112  # EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # TIFF
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
_PILLOW = r"PIL\."


def read_image(path: str) -> Image.Image:
    """The decoded image, RGB, 8 bits a channel, as a viewer shows it.

    - Of files with several frames or pages the first one is read.
    - The orientation that EXIF or XMP states is applied; where that block is broken, it counts as upright.
    - Transparent pixels are laid over black, what the padding of the augmentation is too.
    - Grey images of more than 8 bits keep their contents, by a rule that looks at the one file alone. Whole numbers:
      the range is that of the bits per sample where a TIFF says 9 to 15, else the smallest of 8, 16, 24 and 31 bits
      that holds the largest value. Floating point: the smallest of 0..1, 0..255 and 0..65535. The range is mapped to
      0..255 and rounded. Values below 0, not finite, or just above such a range (up to twice) are refused, nothing is
      guessed or clipped.
    - Other colour spaces are converted by Pillow (CMYK without profile); 16-bit colour is read with 8 bits.

    Raises:
        UserError: the file is missing, no regular file, damaged, cut off, of no known format, larger than
            :data:`MAX_PIXELS`, or its grey values have no clear range; the message names it and the reason.
    """
    reason = why_not_a_file(path)
    if reason is not None:
        raise UserError(f"Cannot read image {path}: it {reason}.")
    _quiet_pillow()
    try:
        with Image.open(path, formats=formats_for(path)) as image:
            _check_size(image.size)
            image.load()
            turn = _turn(image)
            rgb = _to_rgb(image)
    except Exception as error:  # decoders raise nearly anything on damaged files: struct.error, IndexError, MemoryError
        raise UserError(f"Cannot read image {path}: {_reason(error)}.") from error
    return rgb if turn is None else rgb.transpose(turn)


def grey_levels(values: np.ndarray, bits: int | None = None) -> np.ndarray:
    """uint8 grey levels of deeper ones, by the rule of :func:`read_image`.

    Args:
        values: integers or floats of any shape.
        bits: bits per sample, where the file states them.

    Raises:
        ValueError: the values have no clear range.

    Example:
        >>> grey_levels(np.array([0, 257, 65535], dtype=np.uint16))
        array([  0,   1, 255], dtype=uint8)
        >>> grey_levels(np.array([0.0, 0.5, 1.0], dtype=np.float32))
        array([  0, 128, 255], dtype=uint8)
    """
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("it holds values that are not finite")
    whole = values.dtype.kind in "iu"
    if whole:
        ranges = [2.0**bits - 1] if bits is not None else [2.0**bits - 1 for bits in (8, 16, 24, 31)]
    else:
        ranges = [1.0, 255.0, 65535.0]
    rounding = 0.0 if whole else 0.5 / 255  # of a range: what rounds to its ends lies within
    top = next((top for top in ranges if high <= top * (1 + rounding)), None)
    if top is None or low < -rounding * top:
        raise ValueError(f"its grey values {low:g} to {high:g} are outside of every range that is read")
    if not whole and any(below * (1 + rounding) < high < 2 * below for below in ranges):
        raise ValueError(f"its grey values reach {high:g}, just beyond the ranges 0..1, 0..255 and 0..65535")
    return np.clip(np.rint(values.astype(np.float64) * (255 / top)), 0, 255).astype(np.uint8)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_deep_grey(image)).convert("RGB")
    if image.mode in _PREMULTIPLIED:
        image = image.convert(_PREMULTIPLIED[image.mode])
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _deep_grey(image: Image.Image) -> np.ndarray:
    """uint8 (H, W) of an image of mode F, I or one of I;16's kinds."""
    tags = getattr(image, "tag_v2", {})  # TIFF only
    stated = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    levels = grey_levels(np.asarray(image), stated if 8 < stated < 16 else None)
    # Pillow turns such images round at 8 bits, but not at more.
    return 255 - levels if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else levels


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes a loaded image upright; Pillow has done it already for TIFF."""
    try:
        value = image.getexif().get(_ORIENTATION)
        return _TURNS.get(value) if isinstance(value, int) else None
    except Exception:  # a broken or hostile EXIF block says nothing about the pixels
        return None


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise Image.DecompressionBombError
    if not width or not height:
        raise ValueError("it has no pixels")


def _reason(error: Exception) -> str:
    """The end of a sentence, without the path."""
    if isinstance(error, Image.DecompressionBombError):
        side = int(MAX_PIXELS**0.5)
        return f"it has more than {MAX_PIXELS:,} pixels ({side} x {side}), the largest image that is read"
    if isinstance(error, Image.UnidentifiedImageError):
        return "it is cut off, damaged, or of no format that is read"
    if isinstance(error, MemoryError):
        return "there is not enough memory for it"
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__


def _quiet_pillow() -> None:
    """Leaves Pillow's warnings about damaged files out: a file that cannot be read is named by us, once.

    Threads decode, and :func:`warnings.catch_warnings` is not for threads; so the filter stays, for Pillow alone, and
    goes to the front again where others were put before it.
    """
    first = warnings.filters[0] if warnings.filters else ()
    if not first or first[0] != "ignore" or getattr(first[3], "pattern", None) != _PILLOW:
        warnings.filterwarnings("ignore", module=_PILLOW)
        logging.getLogger("PIL").setLevel(logging.CRITICAL)
