"""MSMT17 in its three circulating forms."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, NamedTuple, Self

from unreid.data.datasets.base import DATASETS
from unreid.data.datasets.files import image_tree, listed_files
from unreid.data.datasets.named_files import NamedFilesDataset, check_numbers
from unreid.data.datasets.names import say_spellings
from unreid.data.datasets.statistics import Counts
from unreid.structures import Tracklet
from unreid.utils.errors import UserError
from unreid.utils.text import text_lines

logger = logging.getLogger(__name__)

_LISTS = ("list_train.txt", "list_val.txt", "list_query.txt", "list_gallery.txt")
_LISTED = "0000_000_01_0303morning_0008_0.jpg"
_LISTED_NAME = re.compile(r"[^_]+_[^_]+_(?P<cam>\d+)_", re.ASCII)


class _Line(NamedTuple):
    """One line of a list: where it stands and the identity in it."""

    number: int
    text: str

    @property
    def pid(self) -> int:
        return int(self.text[:40])  # enough to be too large


class _Form(NamedTuple):
    """Where a form keeps its files. ``train`` and ``test`` hold the images of the list files; None: Market layout."""

    folders: tuple[str, ...]
    required: tuple[str, ...]
    train: str | None = None
    test: str | None = None


_FORMS = {
    "v1": _Form(("MSMT17_V1", "MSMT17"), ("train", "test", *_LISTS), "train", "test"),
    "v2": _Form(("MSMT17_V2", "MSMT17"), ("mask_train_v2", "mask_test_v2", *_LISTS), "mask_train_v2", "mask_test_v2"),
    "market": _Form(("MSMT17_V1", "MSMT17_V2", "MSMT17"), ("bounding_box_train", "query", "bounding_box_test")),
}


@DATASETS.register("MSMT17", "msmt")
class MSMT17(NamedFilesDataset):
    """MSMT17: 4,101 persons, fifteen indoor and outdoor cameras, four days.

    Citation: Wei et al., Person Transfer GAN to Bridge Domain Gap for Person Re-identification, CVPR 2018.
    Home page: https://www.pkuvmc.com/dataset.html

    Layouts::

        MSMT17_V1/                                       form "v1"
            train/0000/0000_000_01_0303morning_0008_0.jpg    camera 1 (third field)
            test/...
            list_train.txt, list_val.txt, list_query.txt, list_gallery.txt      lines "path identity"
        MSMT17_V2/                                       form "v2" (faces blurred): mask_train_v2/, mask_test_v2/
        MSMT17_V1/                                       form "market", repackaged for unsupervised re-ID
            bounding_box_train/0000_c14_0030.jpg, query/, bounding_box_test/

    Training is train + val in all of them. Test identities restart at 0 and have nothing to do with training ones.
    Identities / images / cameras: train 1,041 / 32,621 / 15; query 3,060 / 11,659 / 15; gallery 3,060 / 82,161 / 15.

    Args:
        root, strict: see :class:`~unreid.data.datasets.base.ReIDDataset`.
        form: "v1", "v2", "market", or "auto": the first of them that is there.

    Raises:
        UserError: no such form, or its folder is missing, or a line of a list cannot be read.
    """

    name = "MSMT17"
    example = "0000_c14_0030.jpg"
    official: ClassVar = {
        "train": (Counts(1_041, 32_621, 15),),
        "query": (Counts(3_060, 11_659, 15),),
        "gallery": (Counts(3_060, 82_161, 15),),
    }

    def __init__(self, root: str | Path, *, strict: bool = False, form: str = "auto") -> None:
        if form != "auto" and form not in _FORMS:
            raise UserError(f"DATASETS.MSMT17 must be auto, {', '.join(_FORMS)}, not {form!r}.")
        self.form = form
        super().__init__(root, strict=strict)

    @classmethod
    def from_config(cls, cfg: Any) -> Self:
        return cls(cfg.DATASETS.ROOT, strict=cfg.DATASETS.STRICT, form=cfg.DATASETS.MSMT17)

    def _locate(self) -> Path:
        candidates = list(_FORMS) if self.form == "auto" else [self.form]
        failures = []
        for form in candidates:
            self.folders, self.required = _FORMS[form].folders, _FORMS[form].required
            try:
                folder = super()._locate()
            except UserError as error:
                failures.append(str(error))
            else:
                self.form = form
                return folder
        if len(candidates) > 1:
            looked = "; or ".join(f"{f.folders[0]}/ with {', '.join(f.required)}" for f in _FORMS.values())
            raise UserError(
                f"MSMT17 was not found in {self.root.absolute()}: set DATASETS.ROOT to the folder that holds {looked}."
            )
        raise UserError(failures[0])

    def _parse(self, split: str) -> tuple[list[Tracklet], list[int]]:
        form = _FORMS[self.form]
        if form.train is None or form.test is None:
            return super()._parse(split)
        folder = self.split_folder(split)
        names = ("list_train.txt", "list_val.txt") if split == "train" else (f"list_{split}.txt",)
        rows = {path: line for name in names for path, line in self._lists[name].items()}
        tree = self._trees[form.train if split == "train" else form.test]
        present = listed_files(folder, sorted(rows), tree)
        found = {path: _LISTED_NAME.match(path.rpartition("/")[2]) for path in present}
        usable = sorted((path, match["cam"]) for path, match in found.items() if match)
        if not usable:
            other = f" under a name like {_LISTED}" if found else ""
            raise UserError(
                f"MSMT17: none of the {len(rows)} images that the lists name for {split} is in {folder}{other}."
            )
        self._say("listed images of {} are not in {}", sorted(set(rows) - present), split, folder)
        strangers = sorted(path for path, match in found.items() if not match)
        self._say("listed images of {} were left out, their names are not like {}", strangers, split, _LISTED)
        if split != "query":  # the folder of query and gallery is spoken of once
            listed = {path for name in (_LISTS[:2] if split == "train" else _LISTS[2:]) for path in self._lists[name]}
            self._say("images of {} were left out, they are in no list", sorted(set(tree) - listed), folder)
        tracklets = [
            Tracklet((os.path.join(folder, path),), self._cameras[int(camera)], position)
            for position, (path, camera) in enumerate(usable)
        ]
        return tracklets, [rows[path].pid for path, _ in usable]

    def split_folder(self, split: str) -> Path:
        """Folder that holds the images of a split; query and gallery share one in the forms with lists."""
        form = _FORMS[self.form]
        folder = form.train if split == "train" else form.test
        return self.folder / folder if folder is not None else super().split_folder(split)

    def _test_files(self) -> list[str]:
        if _FORMS[self.form].test is None:
            return super()._test_files()
        folder = self.split_folder("gallery")
        return [os.path.join(folder, path) for path in self._trees[folder.name]]

    @cached_property
    def _trees(self) -> dict[str, list[str]]:
        """Images below the two folders, by folder."""
        folders = [self.split_folder(split) for split in ("train", "gallery")]
        return {folder.name: image_tree(folder, self.name) for folder in folders}

    def _say(self, text: str, paths: list[str], *arguments: object) -> None:
        if paths:
            logger.warning("MSMT17: %d %s (first: %s)", len(paths), text.format(*arguments), paths[0])

    @cached_property
    def _lists(self) -> dict[str, dict[str, _Line]]:
        """The four lists; one image has one identity in all lists that share a folder."""
        lists = {name: _read_list(self.folder / name) for name in _LISTS}
        for half in (_LISTS[:2], _LISTS[2:]):
            _check_identities([(self.folder / name, lists[name]) for name in half])
        return lists

    def _camera_examples(self) -> dict[int, str]:
        if _FORMS[self.form].train is None:
            return super()._camera_examples()
        found: dict[int, str] = {}
        spellings: dict[int, set[str]] = {}
        for name, lines in self._lists.items():
            for path, line in lines.items():
                match = _LISTED_NAME.match(path.rpartition("/")[2])
                if match:
                    check_numbers("MSMT17", f"{self.folder / name}, line {line.number},", camera=int(match["cam"]))
                    found.setdefault(int(match["cam"]), path)
                    spellings.setdefault(int(match["cam"]), set()).add(match["cam"])
        say_spellings("MSMT17", "camera", spellings)
        return found


def _read_list(path: Path) -> dict[str, _Line]:
    """Relative path -> its line; raises :class:`UserError` with the line that cannot be read."""
    listed: dict[str, _Line] = {}
    repeated = []
    for number, text in text_lines(path):
        name, pid = text.rsplit(None, 1) if len(text.split()) > 1 else ("", "")
        if not name or not (pid.isascii() and pid.isdecimal()):
            raise UserError(f"{path}, line {number}: expected 'path identity', found {text!r}.")
        line = _Line(number, pid)
        check_numbers("MSMT17", f"{path}, line {number},", pid=line.pid)
        name = PurePosixPath(name.replace("\\", "/")).as_posix()
        before = listed.setdefault(name, line)
        if before.pid != line.pid:
            raise UserError(
                f"{path}, lines {before.number} and {number}: {name} has two identities, {before.text} and {pid}."
            )
        if before is not line:
            repeated.append(f"line {number}: {name}")
    if repeated:
        logger.warning("%s: %d lines repeat earlier ones and count once (first: %s)", path, len(repeated), repeated[0])
    return listed


def _check_identities(lists: Sequence[tuple[Path, dict[str, _Line]]]) -> None:
    """Raises :class:`UserError` where two lists give an image two identities, and says where one has two spellings."""
    (one, first), (other, second) = lists
    for path in first.keys() & second.keys():
        if first[path].pid != second[path].pid:
            raise UserError(
                f"{path} has identity {first[path].text} in {one}, line {first[path].number}, and "
                f"{second[path].text} in {other}, line {second[path].number}."
            )
    spellings: dict[int, set[str]] = {}
    for line in (*first.values(), *second.values()):
        spellings.setdefault(line.pid, set()).add(line.text)
    say_spellings("MSMT17", "identity", spellings)
