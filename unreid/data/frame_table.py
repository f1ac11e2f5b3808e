"""Numbers all frames of a list of tracklets, so that images are addressed by one integer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unreid.structures import Tracklet, camids_of


class FrameTable:
    """Row r of the table is a frame; the frames of tracklet i are the rows starts[i] .. starts[i + 1] - 1.

    Attributes:
        paths: M paths.
        starts: int64 (N + 1,).
        lengths: int64 (N,), frames per tracklet.
        camids: int64 (N,).
    """

    def __init__(self, tracklets: Sequence[Tracklet]) -> None:
        self.paths: tuple[str, ...] = tuple(path for tracklet in tracklets for path in tracklet.paths)
        self.lengths = np.array([len(tracklet.paths) for tracklet in tracklets], dtype=np.int64)
        self.starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(self.lengths)])
        self.camids = camids_of(tracklets)

    def __len__(self) -> int:
        return len(self.lengths)
