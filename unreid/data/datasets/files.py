"""Listing image files in an order that no file system decides."""

from __future__ import annotations

import os
from pathlib import Path

from unreid.utils.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def is_image_name(name: str) -> bool:
    """True for a visible file name with an image suffix."""
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def image_names(folder: Path) -> list[str]:
    """Sorted names of the image files directly in ``folder``; hidden files, sub-folders and others are ignored."""
    with os.scandir(_existing(folder)) as entries:
        return sorted(entry.name for entry in entries if is_image_name(entry.name) and entry.is_file())


def folder_names(folder: Path) -> list[str]:
    """Sorted names of the visible folders directly in ``folder``."""
    with os.scandir(_existing(folder)) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())


def image_tree(folder: Path) -> list[str]:
    """Sorted relative paths (with ``/``) of all image files below ``folder``; hidden folders are not entered."""
    found: list[str] = []
    base = _existing(folder)
    for parent, folders, names in os.walk(base, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = Path(parent).relative_to(base)
        found.extend((relative / name).as_posix() for name in names if is_image_name(name))
    return sorted(found)


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise UserError(f"The image folder {folder} does not exist.")
    return folder
