"""DBSCAN that keeps samples apart which cannot be the same person (TOC in training; ICDBSCAN of AuxUSLReID)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from unreid.clustering.base import CLUSTERERS, Turn, needed_graph
from unreid.clustering.constrained_growth import ConstrainedGrowth, grow_apart, neighbour_lists, relax
from unreid.clustering.dbscan import DBSCAN
from unreid.clustering.keep_apart import check_links
from unreid.constraints.links import Links
from unreid.structures import Clustering, PairGraph
from unreid.utils.arrays import ArrayLike
from unreid.utils.errors import UserError
from unreid.utils.state import StateError, require_tensor

MODES = ("clean", "ordered")


@CLUSTERERS.register("ConstrainedDBSCAN", "ICDBSCAN")
class ConstrainedDBSCAN(DBSCAN):
    """Density clusters without a cannot-link inside; see :class:`ConstrainedGrowth` for the order of growth.

    Without cannot-links it differs from DBSCAN in one point: a cluster whose neighbours were taken by earlier ones, so
    that fewer than ``min_samples`` are left, dissolves.

    Args:
        links: cannot-links, or pairs of positions (L, 2), each meant in both directions; may be set later through
            :attr:`links`, before the first clustering.
        relaxed: r >= 0 forgets the links of pairs within ``eps * r`` (0: of duplicates only); r < 0 forgets those of
            pairs beyond ``eps * |r|`` and keeps them among near pairs.
        mode: "clean" starts every round from the given links. "ordered" edits them as the published code does: links
            that a round forgets never return, and the first sample of a cluster keeps the links of all members.
        radius, rest: see :class:`~unreid.clustering.dbscan.DBSCAN`.

    Raises:
        ValueError: an unknown mode.
        UserError: there are no links, or they belong to another number of samples.
    """

    def __init__(
        self,
        *radius: Any,
        links: Links | ArrayLike | None = None,
        relaxed: float = 0.0,
        mode: str = "clean",
        **rest: Any,
    ) -> None:
        super().__init__(*radius, **rest)
        if mode not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}, not {mode!r}")
        self.pairs = None if isinstance(links, Links) else links
        self.links = links if isinstance(links, Links) else None
        self.relaxed = relaxed
        self.mode = mode

    @classmethod
    def from_config(cls, cfg: Any) -> ConstrainedDBSCAN:
        """DBSCAN's keys and ``CLUSTER.ICDBSCAN_MODE``; the links come from the run's constraints."""
        clusterer = super().from_config(cfg)
        assert isinstance(clusterer, ConstrainedDBSCAN)
        clusterer.mode = cfg.CLUSTER.ICDBSCAN_MODE
        return clusterer

    @property
    def radius(self) -> float:
        """Relaxation with \\|r\\| > 1 asks for distances beyond eps."""
        if self.adaptive and self.fixed is None:
            return super().radius
        return (self.fixed or self.eps) * max(1.0, abs(self.relaxed))  # links given as pairs count before they are read

    def _cluster(self, features: Tensor, graph: PairGraph | None, turn: Turn) -> Clustering:
        graph = needed_graph(self, graph, self._known_eps)
        if self.pairs is not None and self.links is None:
            self.links = Links.symmetric(self.pairs, graph.n)
        if self.links is None:
            raise UserError(
                "Constrained DBSCAN has no cannot-links: set CLUSTER.ICDBSCAN_OPTION True and mine them with "
                "unreid mine, or choose CLUSTER.NAME DBSCAN."
            )
        check_links(self.links, graph.n)
        eps = self.current_eps(graph)
        return Clustering.from_labels(self._fit(graph.to("cpu"), self.links, eps), eps=eps)

    def _fit(self, graph: PairGraph, given: Links, eps: float) -> np.ndarray:
        if self.mode == "clean":
            return grow_apart(graph, eps, given, self.min_samples, relaxed=self.relaxed, tol=self.tol)
        start, index = neighbour_lists(graph, eps + self.tol)
        links = relax(given, graph, eps, self.relaxed, self.tol)
        lists = np.split(links.index, links.start[1:-1])
        labels = ConstrainedGrowth(start, index, lists.__getitem__, self.min_samples).run(lists.__setitem__)
        self.links = Links(np.cumsum([0, *map(len, lists)]), np.concatenate(lists), graph.n)
        return labels

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        if self.mode == "ordered" and self.links is not None:
            state["links"] = (torch.from_numpy(self.links.start), torch.from_numpy(self.links.index))
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        if "links" in state:
            self.links = _stored_links(state["links"])


def _stored_links(pair: Any) -> Links:
    """Links of ``state_dict``; they need not ascend any more, but they must lie within the samples."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise StateError("'links' of the clusterer are not two lists of positions")
    for part in pair:
        require_tensor(part, "a part of the clusterer's 'links'", torch.int64, (None,))
    start, index = (part.numpy() for part in pair)
    links = Links(start, index, len(start) - 1)
    if not links.is_whole():
        raise StateError("'links' of the clusterer contradict each other")
    return links
