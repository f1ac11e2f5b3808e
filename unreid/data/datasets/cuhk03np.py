"""CUHK03 with the new protocol."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Self

from unreid.data.datasets.base import DATASETS
from unreid.data.datasets.named_files import NamedFilesDataset
from unreid.data.datasets.statistics import Counts
from unreid.utils.errors import UserError

_SETS = ("cuhk03-np", "CUHK03-NP", "cuhk03")
_OFFICIAL = {
    "detected": {"train": Counts(767, 7_365, 2), "query": Counts(700, 1_400, 2), "gallery": Counts(700, 5_332, 2)},
    "labeled": {"train": Counts(767, 7_368, 2), "query": Counts(700, 1_400, 2), "gallery": Counts(700, 5_328, 2)},
}


@DATASETS.register("CUHK03NP", "CUHK03-NP", "CUHK03")
class CUHK03NP(NamedFilesDataset):
    """CUHK03 in the new protocol (767 training and 700 test identities), evaluated like Market-1501.

    Citation: Li et al., DeepReID: Deep Filter Pairing Neural Network for Person Re-identification, CVPR 2014;
    Zhong et al., Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017 (protocol).
    Home page: https://github.com/zhunzhong07/person-re-ranking/tree/master/CUHK03-NP

    Layout::

        cuhk03-np/
            detected/ and/or labeled/
                bounding_box_train/0001_c1_1.png         identity 1, camera 1
                query/...
                bounding_box_test/...

    Files named as in the original release, ``1_001_1_01.png`` (pair of cameras, person, view, image), are read too;
    such an identity is numbered 10,000 * pair + person.

    Identities / images / cameras: labeled train 767 / 7,368 / 2, query 700 / 1,400 / 2, gallery 700 / 5,328 / 2;
    detected train 767 / 7,365 / 2, query 700 / 1,400 / 2, gallery 700 / 5,332 / 2.

    Args:
        root, strict: see :class:`~unreid.data.datasets.base.ReIDDataset`.
        boxes: "detected" or "labeled".

    Raises:
        UserError: ``boxes`` is neither of them.
    """

    name = "CUHK03NP"
    required = ("bounding_box_train", "query", "bounding_box_test")
    pattern = re.compile(r"(?:(?P<pair>\d)_(?=\d{3}_\d_\d+\.))?(?P<pid>\d+)_c?(?P<cam>\d+)_\d+\.", re.ASCII)
    example = "0001_c1_1.png"

    def __init__(self, root: str | Path, *, strict: bool = False, boxes: str = "detected") -> None:
        if boxes not in _OFFICIAL:
            raise UserError(f"DATASETS.CUHK03 must be 'detected' or 'labeled', not {boxes!r}.")
        self.boxes = boxes
        self.folders = (*(f"{base}/{boxes}" for base in _SETS), boxes)
        super().__init__(root, strict=strict)

    @classmethod
    def from_config(cls, cfg: Any) -> Self:
        return cls(cfg.DATASETS.ROOT, strict=cfg.DATASETS.STRICT, boxes=cfg.DATASETS.CUHK03)

    def identity(self, match: re.Match[str]) -> int:
        """The identity; names of the original release count persons per pair of cameras."""
        return int(match["pid"]) + 10_000 * int(match["pair"] or 0)

    def _expected(self, split: str) -> tuple[Counts, ...]:
        return (_OFFICIAL[self.boxes][split],)
