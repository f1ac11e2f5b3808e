"""What is reviewed: crops, where they are, what a model sees in them, and which identity they were given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unreid.utils.errors import UserError


@dataclass(frozen=True)
class CropSet:
    """N crops by key.

    Attributes:
        keys: what a crop is called here and in the training list: the path of its (first) image below the data set's
            folder, with "/"; unique.
        paths: absolute paths of the images that are shown.
        cameras: names; "-" where it is not known.
        labels: int64 (N,), identities 0, 1, ... as they were found, -1 for none.
        features: float32 (N, D), of any length.
        root: folder that the keys are below, "" where there are several.
        features_file: where the features are kept, "" where they are not.
    """

    keys: Sequence[str]
    paths: Sequence[str]
    cameras: Sequence[str]
    labels: np.ndarray
    features: np.ndarray
    root: str = ""
    features_file: str = ""

    def __post_init__(self) -> None:
        lengths = {len(part) for part in (self.keys, self.paths, self.cameras, self.labels, self.features)}
        if len(lengths) != 1:
            raise ValueError(f"columns of different lengths: {sorted(lengths)}")
        if not len(self.keys):
            raise UserError("There is nothing to review: the set has no crop.")
        if len(set(self.keys)) != len(self.keys):
            raise UserError("Two crops of the set have one name, so answers about them could not be told apart.")
        if not np.isfinite(self.features).all():
            raise UserError("The features of the set are not all finite: extract them again.")

    def __len__(self) -> int:
        return len(self.keys)
