"""MSMT17 in its three circulating forms."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from unreid.data.datasets.base import DATASETS
from unreid.data.datasets.files import image_tree, listed_files
from unreid.data.datasets.named_files import NamedFilesDataset
from unreid.data.datasets.statistics import Counts
from unreid.structures import Tracklet
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)

_LISTS = ("list_train.txt", "list_val.txt", "list_query.txt", "list_gallery.txt")
_LISTED_NAME = re.compile(r"[^_]+_[^_]+_(?P<cam>\d+)_")


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
        """The form that ``cfg.DATASETS.MSMT17`` names."""
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
        folder = self.folder / (form.train if split == "train" else form.test)
        listed: dict[str, int] = {}
        for name in ("list_train.txt", "list_val.txt") if split == "train" else (f"list_{split}.txt",):
            listed.update(_read_list(self.folder / name))
        rows = [(path, pid, _LISTED_NAME.match(path.rpartition("/")[2])) for path, pid in sorted(listed.items())]
        present = listed_files(folder, [path for path, _, match in rows if match], image_tree(folder, self.name))
        usable = [(path, pid, match) for path, pid, match in rows if match and path in present]
        if not usable:
            raise UserError(f"MSMT17: none of the {len(rows)} images that the lists name for {split} is in {folder}.")
        if len(usable) < len(rows):
            logger.warning("MSMT17: %d listed images of %s are not in %s", len(rows) - len(usable), split, folder)
        tracklets = [
            Tracklet((str(folder / path),), int(match["cam"]) - 1, position)
            for position, (path, _, match) in enumerate(usable)
        ]
        return tracklets, [pid for _, pid, _ in usable]


def _read_list(path: Path) -> dict[str, int]:
    """Relative path -> identity; raises :class:`UserError` with the line that cannot be read."""
    listed = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        name, _, pid = line.strip().rpartition(" ")
        if not line.strip():
            continue
        if not name or not pid.isdecimal():
            raise UserError(f"{path}, line {number}: expected 'path identity', found {line.strip()!r}.")
        listed[name.strip()] = int(pid)
    return listed
