"""Another clusterer's labels, corrected: no small clusters (3C), no cannot-links inside (TOC), a person's answers."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor

from unreid.clustering.base import Clusterer
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

    def cluster(
        self,
        features: Tensor,
        graph: PairGraph | None,
        *,
        round: int = 0,
        seed: int = 0,
        camids: Tensor | None = None,
    ) -> Clustering:
        return self.correct(self.clusterer.cluster(features, graph, round=round, seed=seed, camids=camids), features)

    def state_dict(self) -> dict[str, Any]:
        return self.clusterer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.clusterer.load_state_dict(state)
