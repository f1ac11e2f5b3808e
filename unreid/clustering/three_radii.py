"""DBSCAN at three radii of one graph, whose agreement says how much a label can be trusted (SpCL, CDSM)."""

from __future__ import annotations

from typing import Any, Self

from torch import Tensor

from unreid.clustering.base import needed_graph
from unreid.clustering.dbscan import DensityClusterer
from unreid.structures import PairGraph
from unreid.utils.errors import UserError


class ThreeRadii(DensityClusterer):
    """Labels at ``eps``, at the tight ``eps - gap`` and at the loose ``eps + gap``.

    Args:
        eps, gap: the radius, and its distance to the tight and the loose one.
        min_samples, density: see :class:`~unreid.clustering.dbscan.DensityClusterer`.
    """

    def __init__(self, eps: float = 0.6, gap: float = 0.02, min_samples: int = 4, **density: Any) -> None:
        if not 0 <= gap < eps:
            raise UserError(f"CLUSTER.EPS_GAP must be at least 0 and below CLUSTER.EPS = {eps}, not {gap}.")
        super().__init__(eps, min_samples, **density)
        self.gap = gap

    @classmethod
    def from_config(cls, cfg: Any) -> Self:
        node = cfg.CLUSTER
        clusterer = cls(node.EPS, node.EPS_GAP, node.MIN_SAMPLES)
        clusterer.relaxed = node.ICDBSCAN_RELAXED
        return clusterer

    @property
    def radius(self) -> float:
        return self.reach(self.eps + self.gap)

    def three_labelings(self, graph: PairGraph | None) -> tuple[tuple[Tensor, Tensor | None], Tensor, Tensor]:
        """(labels, core) at eps, and the labels int64 (N,) at the tight and at the loose radius."""
        graph = needed_graph(self, graph)
        around = (self.labels_at(graph, eps)[0] for eps in (self.eps - self.gap, self.eps + self.gap))
        return self.labels_at(graph, self.eps), *around  # type: ignore[return-value]
