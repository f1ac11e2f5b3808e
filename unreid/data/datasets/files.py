"""Listing of image files and folders: each file once, in sorted order, and a count of everything that is left out."""

from __future__ import annotations

import logging
import os
import stat
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from unreid.data.formats import is_image_name, kind_of, left_out_as, why_not_an_image
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)

_FOLDER_LIKE_FILE = "folder named like an image"
_LISTED_FILE = "link to a file that is listed already"
_LISTED_FOLDER = "link to a folder that is listed already"
_SHOWN, _LONG = 10, 300  # reasons in one line of the log, characters of a path there


def image_names(folder: Path, owner: str) -> list[str]:
    """Sorted names of the image files directly in ``folder``; what is left out is logged for ``owner``."""
    listing = ImageListing()
    names = listing.names(folder)
    listing.log(owner, folder)
    return names


def image_tree(folder: Path, owner: str) -> list[str]:
    """Sorted relative paths (with ``/``) of all image files below ``folder``; what is left out is logged."""
    listing = ImageListing()
    names = listing.tree(folder)
    listing.log(owner, folder)
    return names


def listed_files(folder: Path, wanted: Iterable[str], found: Iterable[str]) -> set[str]:
    """Those of the ``wanted`` relative paths that are image files, each file once, the first path of it.

    Args:
        found: what :func:`image_tree` found. It names a file once, a list may name the same by a link.
    """
    taken = set(found)
    usable: dict[str, str] = {}
    for path in wanted:
        real = f"{os.path.realpath(folder)}/{path}" if path in taken else os.path.realpath(folder / path)
        if path in taken or why_not_an_image(folder / path) is None:
            usable.setdefault(real, path)
    return set(usable.values())


class _Entries(NamedTuple):
    """Names in a folder, each list sorted; hidden ones and what is no image are counted elsewhere."""

    images: list[str]
    folders: list[str]
    links: list[str]


class _Target(NamedTuple):
    """Where a link leads: a real path."""

    path: str
    is_folder: bool


class ImageListing:
    """Lists the image files of one split, from one folder or many.

    A file counts once, however many links lead to it: one that lies in the folder itself comes before links, and
    links are taken in sorted order. Links to folders are followed, but not upwards and not twice. Only regular files
    are images; hidden files and folders are left out. See :func:`~unreid.data.formats.left_out_as` for what is an
    image.

    Attributes:
        left_out: counts by reason.
    """

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()
        self._first: dict[str, str] = {}
        self._entered: set[str] = set()  # real paths of folders
        self._linked: set[str] = set()  # real paths of files that were taken through a link
        self._real_folders: dict[str, str] = {}

    def names(self, folder: Path) -> list[str]:
        """Sorted names of the image files directly in ``folder``.

        Raises:
            UserError: the folder does not exist or cannot be read.
        """
        base = _existing(folder)
        if base in self._entered:
            self._leave_out(_LISTED_FOLDER, str(folder))
            return []
        entries = self._read(base)
        folders, linked = entries.folders, []
        for name in entries.links:
            target = self._follow(f"{base}/{name}")
            if target is not None and target.is_folder:
                folders.append(name)
            elif target is not None and self._is_new_image(f"{base}/{name}", target.path):
                linked.append(name)
        for name in folders:
            self._leave_out(_FOLDER_LIKE_FILE if is_image_name(name) else "folder", f"{base}/{name}")
        return sorted(entries.images + linked)

    def tree(self, folder: Path) -> list[str]:
        """Sorted relative paths, with ``/``, of the image files in ``folder`` and all folders below it.

        Raises:
            UserError: the folder does not exist or cannot be read.
        """
        base = _existing(folder)
        found: list[str] = []
        starts = [("", base)]
        while starts:
            links = sorted(link for start in starts for link in self._walk(*start, found))
            starts = []
            for relative, path in links:
                target = self._follow(path)
                if target is None:
                    continue
                if not target.is_folder:
                    found += [relative] if self._is_new_image(path, target.path) else []
                elif f"{base}/".startswith(f"{target.path.rstrip('/')}/"):
                    self._leave_out("link that leads upwards", path)
                else:
                    starts.append((f"{relative}/", target.path))
        return sorted(found)

    def _walk(self, prefix: str, start: str, found: list[str]) -> list[tuple[str, str]]:
        """Adds the images in and below a folder to ``found``; returns the links there, relative and whole.

        Args:
            prefix: put before the relative paths.
            start: a real path.
        """
        waiting = [(prefix, start)]
        links: list[tuple[str, str]] = []
        while waiting:
            relative, real = waiting.pop()
            if real in self._entered:
                self._leave_out(_LISTED_FOLDER, real)
                continue
            entries = self._read(real)
            found += [relative + name for name in entries.images]
            waiting += [(f"{relative}{name}/", f"{real}/{name}") for name in reversed(entries.folders)]
            links += [(relative + name, f"{real}/{name}") for name in entries.links]
        return links

    def folders(self, folder: Path) -> list[str]:
        """Sorted names of the visible folders directly in ``folder``, links to folders among them.

        Raises:
            UserError: the folder does not exist or cannot be read.
        """
        base = _existing(folder)
        with os.scandir(base) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())

    def log(self, owner: str, folder: Path | str) -> None:
        """One line about what was left out, if anything was: a warning where it may have been meant as an image."""
        if not self.left_out:
            return
        by_count = sorted(self.left_out, key=lambda reason: (_is_harmless(reason), -self.left_out[reason], reason))
        reasons = [f"{self.left_out[reason]} {reason}" for reason in by_count[:_SHOWN]]
        if len(by_count) > _SHOWN:
            reasons.append(f"{sum(self.left_out[reason] for reason in by_count[_SHOWN:])} of other kinds")
        doubtful = not _is_harmless(by_count[0])
        logger.log(
            logging.WARNING if doubtful else logging.INFO,
            "%s: ignored %d entries of %s: %s%s.",
            owner,
            self.left_out.total(),
            folder,
            ", ".join(reasons),
            f" (first: {self._first[by_count[0]]})" if doubtful else "",
        )

    def _leave_out(self, reason: str, path: str) -> None:
        self.left_out[reason] += 1
        self._first.setdefault(reason, path if len(path) <= _LONG else f"...{path[-_LONG:]}")

    def _read(self, real: str) -> _Entries:
        """What lies in a folder, given by its real path."""
        self._entered.add(real)
        found = _Entries([], [], [])
        try:
            with os.scandir(real) as entries:
                for entry in entries:
                    self._sort_in(entry, found, real)
        except OSError as error:
            self._leave_out(f"unreadable folder ({error.strerror})", real)
        for names in found:
            names.sort()
        return found

    def _sort_in(self, entry: os.DirEntry[str], found: _Entries, folder: str) -> None:
        name = entry.name
        if name.startswith("."):
            self._leave_out("hidden", entry.path)
        elif entry.is_file(follow_symlinks=False):
            reason = None if is_image_name(name) else left_out_as(entry.path)
            if reason is None and self._linked and f"{folder}/{name}" in self._linked:
                reason = _LISTED_FILE
            if reason is None:
                found.images.append(name)
            else:
                self._leave_out(reason, entry.path)
        elif entry.is_dir(follow_symlinks=False):
            found.folders.append(name)
        elif entry.is_symlink():
            found.links.append(name)
        else:
            self._leave_out(f"special file: {kind_of(entry.stat(follow_symlinks=False).st_mode)}", entry.path)

    def _is_new_image(self, link: str, target: str) -> bool:
        """True when a link leads to an image file that is not listed yet; otherwise the reason is counted."""
        reason = left_out_as(link)
        if reason is None and self._is_listed(target):
            reason = _LISTED_FILE
        if reason is not None:
            self._leave_out(reason, link)
            return False
        self._linked.add(target)
        return True

    def _is_listed(self, target: str) -> bool:
        """True when a real path was taken: through another link, or because its folder was read."""
        folder = os.path.dirname(target)
        hidden = os.path.basename(target).startswith(".")
        return target in self._linked or (folder in self._entered and not hidden and left_out_as(target) is None)

    def _follow(self, link: str) -> _Target | None:
        """The regular file or the folder that a link leads to, or None after counting why not."""
        try:
            mode = os.stat(link).st_mode
        except FileNotFoundError:
            self._leave_out("link to nothing", link)
        except OSError as error:
            self._leave_out(f"link that cannot be followed ({error.strerror})", link)
        else:
            if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                return _Target(self._real(link), stat.S_ISDIR(mode))
            self._leave_out(f"link to a {kind_of(mode)}", link)
        return None

    def _real(self, link: str) -> str:
        """``os.path.realpath`` of a link; where many lead into one folder, that is resolved once."""
        path = os.path.join(os.path.dirname(link), os.readlink(link))
        folder, name = os.path.split(path)
        if name in ("", ".", "..") or os.path.islink(path):
            return os.path.realpath(path)
        if folder not in self._real_folders:
            self._real_folders[folder] = os.path.realpath(folder)
        return os.path.join(self._real_folders[folder], name)


def _is_harmless(reason: str) -> bool:
    """True for what nobody takes for an image."""
    return reason in ("hidden", "folder", "without suffix") or (reason.startswith(".") and " " not in reason)


def _existing(folder: Path) -> str:
    """The real path of a folder that can be read."""
    if not os.path.isdir(folder):
        raise UserError(f"The image folder {folder} does not exist.")
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise UserError(f"The image folder {folder} cannot be read: {error.strerror}.") from error
    return os.path.realpath(folder)
