"""What a report is drawn from: everything that was read or computed before the first line of HTML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from unreid.structures import Tracklet, camids_of

if TYPE_CHECKING:
    from unreid.evaluation.metrics import RankingResult


@dataclass(frozen=True)
class Samples:
    """A list of N crops (or clips), perhaps a sample of a longer list.

    Attributes:
        features: float32 (N, D), on the CPU.
        whole: length of the list they were taken from.
        labels: int64 (N,), pseudo labels, -1 outlier; None where there are none.
        pids: int64 (N,), identities, negative where unknown; None where nobody knows any.
    """

    tracklets: list[Tracklet]
    features: Tensor
    whole: int
    labels: np.ndarray | None = None
    pids: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.tracklets)

    @property
    def camids(self) -> np.ndarray:
        """int64 (N,), cameras from 0."""
        return camids_of(self.tracklets)

    @property
    def paths(self) -> list[str]:
        """The picture that stands for a sample: its first frame."""
        return [tracklet.paths[0] for tracklet in self.tracklets]


@dataclass(frozen=True)
class TestSide:
    """A test set: its queries, its gallery, and how well the one finds the other.

    Attributes:
        same_camera: whether gallery crops of the query's identity and camera count (they do without camera labels).
    """

    name: str
    query: Samples
    gallery: Samples
    ranking: RankingResult
    same_camera: bool


@dataclass(frozen=True)
class Setting:
    """A key of the config that is not at its default.

    Attributes:
        key, value, default: as YAML.
        origin: ``file:line``, ``command line``, or "" where the run did not write it down.
    """

    key: str
    value: str
    default: str
    origin: str = ""


@dataclass
class Facts:
    """A run.

    Attributes:
        folder: of the run, as the user named it.
        labelling: what its rounds begin with: "clustering" or "merging".
        state: what became of it: "finished", ...
        settings: what differs from the defaults.
        environment: what the run wrote down about its machine.
        results: ``results.json`` of the run.
        repeats: of runs that differ in the seed alone, folder -> ``results.json``; with two at least there is a spread.
        rounds: rows of ``rounds.csv``, numbers only.
        metrics: rows of ``metrics.jsonl``.
        eps: DBSCAN's radius, where the run has one.
        sweep: (eps, measures) of clusterings of ``train``.
        activation: (path, uint8 (H, W, 3) picture with the map over it).
        missing: part -> the sentence that says why it is not there.
    """

    folder: str
    method: str
    clusterer: str
    datasets: list[str]
    state: str
    settings: list[Setting] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    repeats: dict[str, dict[str, Any]] = field(default_factory=dict)
    rounds: list[dict[str, float]] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    eps: float | None = None
    has_cameras: bool = True
    train: Samples | None = None
    test: TestSide | None = None
    sweep: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    activation: list[tuple[str, np.ndarray]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    labelling: str = "clustering"
