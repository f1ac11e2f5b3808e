"""What every clusterer promises, and the registry that configs name them by."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from torch import Tensor

from unreid.constraints.links import Links
from unreid.neighbors.builder import PairGraphBuilder
from unreid.structures import Clustering, PairGraph
from unreid.utils.arrays import ArrayLike, as_features, as_ids
from unreid.utils.errors import InputError
from unreid.utils.registry import Registry

CLUSTERERS: Registry[type[Clusterer]] = Registry("clusterer")


@dataclass(frozen=True)
class Turn:
    """What a clusterer is told of a round besides features and graph; see :meth:`Clusterer.cluster`."""

    round: int = 0
    seed: int = 0
    camids: Tensor | None = None


class Clusterer:
    """Labels N samples, from their features, from a pair graph, or from both.

    A clusterer is pure given its state: it knows no dataset and no model. Most have no state; those with history (an
    eps fixed in the first round, a threshold fixed in the first epoch) put it into ``state_dict``.

    A run calls :meth:`cluster` round after round, with a graph that it has built. Outside of a run
    :meth:`fit_predict` is enough: it builds the graph itself.

    Attributes:
        graph_builder: of the graph that :meth:`fit` builds; a run builds its own.
        labels_: int64 (N,), after :meth:`fit`: -1 outlier, clusters 0..C-1.
        clustering_: after :meth:`fit`: the whole :class:`~unreid.structures.Clustering`.
        takes_links: whether the labels obey :attr:`links`; otherwise
            :class:`~unreid.clustering.keep_apart.KeepApart` corrects them.
        links: cannot-links (TOC) of the N samples, which no cluster may hold, or None.
    """

    graph_builder = PairGraphBuilder()
    takes_links = False
    links: Links | None = None
    labels_: np.ndarray
    clustering_: Clustering

    @property
    def radius(self) -> float | None:
        """How far the pair graph must reach; None: no graph is read."""
        return None

    def at(self, round: int) -> Clusterer:
        """The clusterer that works in a round: itself, unless it switches between others."""
        return self

    def cluster(
        self,
        features: Tensor,
        graph: PairGraph | None,
        *,
        round: int = 0,
        seed: int = 0,
        camids: Tensor | None = None,
    ) -> Clustering:
        """Pseudo labels of a round.

        Args:
            features: float32 (N, D).
            graph: pairs up to at least :attr:`radius`, or None where that is None.
            round, seed: seed what is random; the same pair gives the same labels.
            camids: int64 (N,), for clusterers that know cameras.

        Raises:
            InputError: the features or the graph that it clusters are missing, or the graph ends before
                :attr:`radius`.
        """
        return self._cluster(features, graph, Turn(round, seed, camids))

    def _cluster(self, features: Tensor, graph: PairGraph | None, turn: Turn) -> Clustering:
        raise NotImplementedError

    def fit(self, X: ArrayLike, camids: ArrayLike | None = None, *, seed: int = 0) -> Self:
        """Clusters X as scikit-learn's clusterers do and sets :attr:`labels_` and :attr:`clustering_`.

        Nothing is remembered from one fit to the next, also by clusterers that have a history over rounds.

        Args:
            X: numbers (N, D): numpy, torch (on the device that is to do the work) or lists.
            camids: (N,), cameras, integers or strings, for clusterers that know cameras.
            seed: of what is random.

        Raises:
            InputError: arrays of another shape or type.
        """
        features = as_features(X, "X")
        cameras = None if camids is None else as_ids(camids, "camids", len(features))
        worker = copy.deepcopy(self)
        graph = None if worker.radius is None else self.graph_builder(features, worker.radius, camids=cameras)
        self.clustering_ = worker.cluster(features, graph, seed=seed, camids=cameras)
        self.clustering_.features = features
        self.labels_ = self.clustering_.labels.numpy()
        return self

    def fit_predict(self, X: ArrayLike, camids: ArrayLike | None = None, *, seed: int = 0) -> np.ndarray:
        """The labels of :meth:`fit`, int64 (N,): -1 outlier, clusters 0..C-1."""
        return self.fit(X, camids, seed=seed).labels_

    @classmethod
    def from_config(cls, cfg: Any) -> Clusterer:
        """The clusterer that ``cfg.CLUSTER`` describes."""
        return cls()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def needed_graph(clusterer: Clusterer, graph: PairGraph | None, reach: float | None = None) -> PairGraph:
    """The graph, if there is one that holds all pairs up to ``reach`` (default: the clusterer's radius).

    Raises:
        InputError: there is none, or it ends earlier: pairs beyond would silently count as far apart.
    """
    name, radius = type(clusterer).__name__, clusterer.radius
    way_out = f"build it with unreid.neighbors.jaccard_graph(features, radius={radius:g}) or metric_graph."
    if graph is None:
        raise InputError(f"{name} clusters a pair graph up to distance {radius:g} and got none: {way_out}")
    if graph.radius < (radius if reach is None else reach):  # type: ignore[operator]
        raise InputError(f"{name} looks up to distance {radius:g}, but the graph ends at {graph.radius:g}: {way_out}")
    return graph
