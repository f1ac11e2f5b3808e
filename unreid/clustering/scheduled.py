"""Switches between clusterers by round, as 3C does: DBSCAN first, then HDC or k-means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from unreid.clustering.base import Clusterer, Turn
from unreid.structures import Clustering, PairGraph
from unreid.utils.state import entries


class ScheduledClusterer(Clusterer):
    """``[(0, dbscan), (10, hdc)]`` clusters with dbscan in rounds 0-9 and with hdc from round 10 on.

    Args:
        stages: (first round, clusterer), ascending, the first from round 0.

    Raises:
        ValueError: stages that are empty, not ascending, or do not begin at 0.
    """

    def __init__(self, stages: Sequence[tuple[int, Clusterer]]) -> None:
        starts = [start for start, _ in stages]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError(f"stages must start at round 0 and ascend, got {starts}")
        self.stages = list(stages)
        self.graph_builder = self.at(0).graph_builder

    @property
    def radius(self) -> float | None:
        """The largest of its clusterers; a round needs only that of :meth:`at`."""
        return max((stage.radius for _, stage in self.stages if stage.radius is not None), default=None)

    def at(self, round: int) -> Clusterer:
        return [clusterer for start, clusterer in self.stages if start <= round][-1].at(round)

    def _cluster(self, features: Tensor, graph: PairGraph | None, turn: Turn) -> Clustering:
        return self.at(turn.round).cluster(features, graph, **vars(turn))

    def state_dict(self) -> dict[str, Any]:
        return {str(start): clusterer.state_dict() for start, clusterer in self.stages}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        entries(state, "the state of the scheduled clusterers", {str(start): dict for start, _ in self.stages})
        for start, clusterer in self.stages:
            clusterer.load_state_dict(state[str(start)])
