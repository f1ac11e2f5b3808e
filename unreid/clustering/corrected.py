"""Another clusterer's labels, corrected: no small clusters (3C), no cannot-links inside (TOC), a person's answers."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor

from unreid.clustering.base import Clusterer, Turn
from unreid.structures import Clustering, PairGraph


class CorrectedClusterer(Clusterer):
    """Clusters as the clusterer inside, then applies :meth:`correct`."""

    def __init__(self, clusterer: Clusterer) -> None:
        self.clusterer = clusterer
        self.graph_builder = clusterer.graph_builder

    @property
    def radius(self) -> float | None:
        return self.clusterer.radius

    def at(self, round: int) -> Clusterer:
        stage = self.clusterer.at(round)
        if stage is self.clusterer:
            return self
        corrected = copy.copy(self)
        corrected.clusterer = stage
        return corrected

    def correct(self, clustering: Clustering, features: Tensor) -> Clustering:
        """The clustering of float (N, D) features as it shall be."""
        raise NotImplementedError

    def _cluster(self, features: Tensor, graph: PairGraph | None, turn: Turn) -> Clustering:
        return self.correct(self.clusterer.cluster(features, graph, **vars(turn)), features)

    def state_dict(self) -> dict[str, Any]:
        return self.clusterer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.clusterer.load_state_dict(state)
