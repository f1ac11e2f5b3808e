"""Whether two paths are one file, however they are spelled: relative parts, symbolic links and hard links resolved."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

_UNLISTED = (-1, True)  # looked at by itself, like a link


class _File(NamedTuple):
    path: str  # resolved
    node: tuple[int, int] | None  # device of the folder and inode as listed; None: not listed


class _Folder(NamedTuple):
    path: str  # resolved
    device: int
    entries: dict[str, tuple[int, bool]]  # name -> inode, is a symbolic link


class Resolver:
    """Resolves many paths at the price of listing every folder once: no file is looked at by itself.

    Files that do not exist are resolved as far as they do.
    """

    def __init__(self) -> None:
        self._folders: dict[str, _Folder] = {}

    def __call__(self, path: str) -> _File:
        parent, _, name = path.rpartition(os.sep)
        if parent and name not in ("", os.curdir, os.pardir):
            folder = self._folder(parent)
            inode, is_link = folder.entries.get(name, _UNLISTED)
            if not is_link:
                return _File(folder.path + os.sep + name, (folder.device, inode))
        real = os.path.realpath(path)
        folder = self._folder(os.path.dirname(real))
        inode, is_link = folder.entries.get(os.path.basename(real), _UNLISTED)
        return _File(real, None if is_link else (folder.device, inode))

    def _folder(self, folder: str) -> _Folder:
        found = self._folders.get(folder)
        if found is None:
            found = self._folders[folder] = _listed(os.path.realpath(folder))
        return found


class FileIndex:
    """A set of files that knows them under every name.

    Hard links count as the same file. A copy under another name is another file: contents are not compared.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._resolve = Resolver()
        self._paths: set[str] = set()
        self._nodes: dict[tuple[int, int], str] = {}
        for path in paths:
            self.add(path)

    def __len__(self) -> int:
        return len(self._paths)

    def add(self, path: str) -> str:
        """Adds a file and returns its key: the name under which the set knows it, the same for all its names."""
        file = self._resolve(path)
        known = self._find(file)
        if known is not None:
            return known
        self._paths.add(file.path)
        if file.node is not None:
            self._nodes.setdefault(file.node, file.path)
        return file.path

    def repeats(self, path: str) -> bool:
        """Adds a file; True when it was there already."""
        before = len(self._paths)
        self.add(path)
        return len(self._paths) == before

    def key(self, path: str) -> str | None:
        """The key of a file of the set; None: it is not there."""
        return self._find(self._resolve(path)) if self._paths else None

    def _find(self, file: _File) -> str | None:
        if file.path in self._paths:
            return file.path
        twin = None if file.node is None else self._nodes.get(file.node)
        # Inodes as listed are a hint: some file systems list others than they give out, so the two are compared.
        return twin if twin is not None and _same(file.path, twin) else None

    def holds(self, path: str) -> bool:
        """True when the file is in the set."""
        return self.key(path) is not None


def _listed(folder: str) -> _Folder:
    try:
        device = os.stat(folder).st_dev
        with os.scandir(folder) as entries:
            return _Folder(folder, device, {entry.name: (entry.inode(), entry.is_symlink()) for entry in entries})
    except (OSError, ValueError):  # not there, no folder, not readable; a NUL in its name
        return _Folder(folder, -1, {})


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
