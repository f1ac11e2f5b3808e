"""Feature tables: the vectors of a folder of images, with their paths, cameras and origin, as a file.

====================  ==========================================  ==============================
column                Parquet                                     ``.npz``
====================  ==========================================  ==============================
``path``              string, below ``root``, with ``/``          unicode (N,)
``camera``            string; ``-`` where it is not known         unicode (N,)
``vector``            fixed_size_list<float32>[D]                 float32 (N, D)
====================  ==========================================  ==============================

A :class:`FeatureMeta` as JSON stands beside them, in the Parquet file's metadata under ``unreid``, in the archive as
``meta``. In a Parquet file with a name that is not UTF-8 the paths are binary, as the system spells them.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unreid.utils.errors import InputError, UserError

FORMAT = "unreid-features"
VERSION = 1
NO_CAMERA = "-"
"""Camera of an image whose camera is not known."""
SUFFIXES = (".parquet", ".npz")


@dataclass(frozen=True)
class FeatureMeta:
    """Where vectors come from.

    Attributes:
        root: absolute folder that the paths are below.
        model: what made them, as the user named it.
        fingerprint: of weights, preprocessing and kind of feature: equal ones lie in one space.
        feature: "embedding", "pooled" or "pooled_l2".
        preprocessing: ``size`` [H, W], ``interpolation``, ``mean``, ``std``, ``color``.
        unreadable: paths that were left out.
    """

    root: str
    model: str
    fingerprint: str
    feature: str = "embedding"
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    unreadable: Sequence[str] = ()

    def to_json(self) -> str:
        """The text that a file holds."""
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, sort_keys=True)


@dataclass(frozen=True)
class FeatureTable:
    """Vectors of N images.

    Attributes:
        paths: below ``meta.root``, with ``/``.
        cameras: any text; :data:`NO_CAMERA` where unknown.
        vectors: float32 (N, D).
        meta: where they come from.

    Raises:
        InputError: lengths that differ, or vectors that are no finite numbers (N, D).
    """

    paths: list[str]
    cameras: list[str]
    vectors: np.ndarray
    meta: FeatureMeta

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or self.vectors.dtype != np.float32:
            raise InputError(f"vectors are float32 (N, D), not {self.vectors.dtype} {self.vectors.shape}")
        if not len(self.paths) == len(self.cameras) == len(self.vectors):
            raise InputError(f"{len(self.paths)} paths and {len(self.cameras)} cameras for {len(self.vectors)} vectors")

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def files(self) -> list[str]:
        """Paths of the images, absolute where ``root`` is."""
        return [os.path.join(self.meta.root, path) for path in self.paths]

    @property
    def has_cameras(self) -> bool:
        """Whether any camera is known."""
        return any(camera != NO_CAMERA for camera in self.cameras)


def write_features(path: str | Path, table: FeatureTable) -> None:
    """Writes a table, whole or not at all.

    Raises:
        UserError: a suffix that is neither .parquet nor .npz, a package that is missing, or a file that the system
            refuses.
    """
    write_rows(path, table.paths, table.cameras, [table.vectors], table.meta)


def write_rows(
    path: str | Path, paths: Sequence[str], cameras: Sequence[str], blocks: Iterable[np.ndarray], meta: FeatureMeta
) -> None:
    """:func:`write_features` of vectors that come in blocks, float32 (n, D), in the order of the paths."""
    if check_suffix(path) == ".npz":
        from unreid.workbench.feature_npz import write_npz

        write_npz(path, paths, cameras, blocks, meta.to_json())
    else:
        from unreid.workbench.feature_parquet import write_parquet

        write_parquet(path, paths, cameras, blocks, meta.to_json())


def read_features(path: str | Path) -> FeatureTable:
    """The table in a file.

    Raises:
        UserError: there is no such file, it is no feature table, or a package is missing.
    """
    if not os.path.isfile(path):
        raise UserError(f"There is no feature table {path}; unreid extract writes one.")
    try:
        if check_suffix(path) == ".npz":
            from unreid.workbench.feature_npz import read_npz

            paths, cameras, vectors, text = read_npz(path)
        else:
            from unreid.workbench.feature_parquet import read_parquet

            paths, cameras, vectors, text = read_parquet(path)
        table = FeatureTable(paths, cameras, vectors, parse_meta(text))
    except (ValueError, KeyError, TypeError) as error:
        reason = f"it lacks {error.args[0]!r}" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise UserError(f"{path} is no feature table ({reason}); unreid extract writes one.") from None
    if not len(table):
        raise UserError(f"{path} holds no vector at all.")
    if len(set(table.paths)) != len(table):
        twice = next(path for path, count in Counter(table.paths).items() if count > 1)
        raise UserError(f"{path} holds {twice} twice, so answers about it could not be told apart: extract it anew.")
    wrong = ~np.isfinite(table.vectors).all(axis=1)
    if wrong.any():
        raise UserError(f"{path} holds a vector that is NaN or infinite, of {table.paths[int(wrong.argmax())]}.")
    return table


def parse_meta(text: str) -> FeatureMeta:
    """The meta in a file; :class:`ValueError`, :class:`KeyError` or :class:`TypeError` where it is not one."""
    content = json.loads(text)
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise ValueError("its meta does not say so")
    version = content.pop("version", None)
    if version != VERSION:
        raise ValueError(f"it has version {version!r}, and this release reads version {VERSION}")
    known = {name: content[name] for name in FeatureMeta.__dataclass_fields__ if name in content}
    meta = FeatureMeta(**known)
    if not all(isinstance(text, str) for text in (meta.root, meta.model, meta.fingerprint, meta.feature)):
        raise ValueError("its meta is damaged")
    return meta


def require_same_model(one: FeatureMeta, other: FeatureMeta, names: tuple[str, str]) -> None:
    """Raises :class:`UserError` unless two tables come from one model: distances between them would mean nothing."""
    if one.fingerprint != other.fingerprint:
        raise UserError(
            f"{names[0]} was made by {one.model} and {names[1]} by {other.model}, two different models or "
            "preprocessings, whose vectors cannot be compared: extract both with one."
        )


def require_same_width(one: int, other: int, names: tuple[str, str]) -> None:
    """Raises :class:`UserError` unless the vectors of two tables have as many numbers."""
    if one != other:
        raise UserError(f"{names[0]} holds vectors of {one} numbers and {names[1]} of {other}: extract both anew.")


def check_suffix(path: str | Path) -> str:
    """The suffix of a feature table; :class:`UserError` for another one."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path}: a feature table ends in .parquet (which needs pyarrow) or .npz.")
    return suffix
