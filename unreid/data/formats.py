"""Which files are images: formats by suffix and by content, everything that the installed Pillow decodes itself."""

from __future__ import annotations

import os
import stat
from functools import cache

# Pillow knows these by name only: they need another program (Ghostscript, Windows) or a plug-in, open nested files in
# any format, or are films.
_NOT_DECODED = frozenset({"EPS", "WMF", "BUFR", "GRIB", "HDF5", "IPTC", "MPEG"})
# Image suffixes that Pillow does not register (as long as no plug-in of it does), to tell them from other files.
_OTHER_IMAGES = frozenset(
    (".avif", ".heic", ".heif", ".hif", ".jxl", ".jxr", ".wdp", ".webp", ".svg", ".exr", ".hdr", ".xcf", ".raw")
    + (".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw")
)
# Never images, and often many beside them: not worth a look inside.
_PLAIN = frozenset(
    (".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yml", ".yaml", ".md", ".html", ".log", ".ini", ".db", ".py")
    + (".npy", ".npz", ".mat", ".pkl", ".pth", ".pt", ".zip", ".tar", ".gz", ".pdf", ".mp4", ".avi", ".mov", ".mkv")
)
# Formats whose first bytes leave no doubt.
_BY_CONTENT = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "JPEG2000", "AVIF", "QOI", "PSD")
_HEAD = 16  # bytes that Pillow itself looks at


@cache
def image_suffixes() -> frozenset[str]:
    """Lower-case suffixes with their dot, such as ``.jpg``, of the formats that are read."""
    from PIL import Image

    known = {*_decoded(), "MPO"}  # MPO is opened by Pillow's JPEG plug-in
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in known)


def is_image_name(name: str) -> bool:
    """True when the suffix of a file name, in any case, is that of a format that is read."""
    return suffix_of(name) in image_suffixes()


def suffix_of(name: str) -> str:
    """The lower-case suffix of a file name with its dot, or an empty text."""
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if stem and dot and suffix else ""


def formats_for(path: str) -> tuple[str, ...]:
    """Pillow's names of the formats to try on a file.

    A format without a signature (TGA, for one) takes any bytes for pixels: it is tried only on files with its suffix.
    """
    return _formats_for_suffix(suffix_of(os.path.basename(path)))


def left_out_as(path: str) -> str | None:
    """Why a regular file is not listed as an image, in a few words, or None when it is one.

    The suffix decides, in any case. A file without suffix is an image if its first bytes say so; under a suffix that
    is unknown such a file is left out (it may be a backup of the image beside it) and named.
    """
    suffix = suffix_of(os.path.basename(path))
    if suffix in image_suffixes():
        return None
    if suffix in _without_decoder():
        return f"{suffix} (no decoder)"
    if suffix in _PLAIN:
        return suffix
    shown = suffix if len(suffix) <= 12 else f"{suffix[:12]}..."
    if _has_image_content(path):
        return f"{shown} with the content of an image" if suffix else None
    return shown or "without suffix"


def why_not_an_image(path: str | os.PathLike[str]) -> str | None:
    """Why a path that somebody names cannot be an image, as the end of a sentence, or None; nothing is decoded.

    Only regular files (or links to them) are opened, so that a named pipe or a device cannot stop a run. The suffix
    does not matter where the content is an image's.

    Example:
        >>> why_not_an_image("/dev/null"), why_not_an_image("nowhere.jpg")
        ('is a device', 'does not exist')
    """
    path = os.fspath(path)
    reason = why_not_a_file(path)
    if reason is None and left_out_as(path) is not None and not _has_image_content(path):
        suffix = suffix_of(os.path.basename(path))
        no_decoder = suffix in _without_decoder()
        reason = f"is a {suffix} file, for which there is no decoder" if no_decoder else "is not an image"
    return reason


def why_not_a_file(path: str) -> str | None:
    """Why a path cannot be opened as a file, as the end of a sentence, or None."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "is a link to a file that does not exist" if os.path.islink(path) else "does not exist"
    except (OSError, ValueError) as error:
        return f"cannot be opened ({getattr(error, 'strerror', None) or error})"
    return None if stat.S_ISREG(mode) else f"is a {kind_of(mode)}"


def kind_of(mode: int) -> str:
    """The name of what is no regular file, from its mode."""
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISFIFO(mode):
        return "named pipe"
    return "socket" if stat.S_ISSOCK(mode) else "device"


@cache
def _decoded() -> tuple[str, ...]:
    """Pillow's names of all formats that are read, in its order."""
    from PIL import Image

    Image.init()
    return tuple(name for name in Image.ID if name not in _NOT_DECODED)


@cache
def _without_decoder() -> frozenset[str]:
    from PIL import Image

    named = {suffix for suffix, name in Image.registered_extensions().items() if name in _NOT_DECODED}
    return frozenset(named | _OTHER_IMAGES) - image_suffixes()


@cache
def _formats_for_suffix(suffix: str) -> tuple[str, ...]:
    from PIL import Image

    own = Image.registered_extensions().get(suffix)
    return tuple(name for name in _decoded() if Image.OPEN[name][1] is not None or name == own)


def _has_image_content(path: str) -> bool:
    """True when the first bytes of a regular file are those of a common image format."""
    from PIL import Image

    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    for name in set(_BY_CONTENT).intersection(_decoded()):
        accept = Image.OPEN[name][1]
        if accept is not None and accept(head) is True:  # a text says why the format is not supported
            return True
    return False
