"""DBSCAN that keeps samples apart which cannot be the same person (TOC in training; ICDBSCAN of AuxUSLReID)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unreid.clustering.base import CLUSTERERS, Clusterer
from unreid.clustering.constrained_growth import ConstrainedGrowth
from unreid.clustering.dbscan import DBSCAN
from unreid.clustering.scheduled import ScheduledClusterer
from unreid.clustering.size_filter import SizeFilter
from unreid.constraints.links import Links
from unreid.structures import Clustering, PairGraph
from unreid.utils.errors import UserError

MODES = ("clean", "ordered")


@CLUSTERERS.register("ConstrainedDBSCAN", "ICDBSCAN")
class ConstrainedDBSCAN(DBSCAN):
    """Density clusters without a cannot-link inside; see :class:`ConstrainedGrowth` for the order of growth.

    Without cannot-links it differs from DBSCAN in one point: a cluster whose neighbours were taken by earlier ones, so
    that fewer than ``min_samples`` are left, dissolves.

    Args:
        links: cannot-links; may be set later through :attr:`links`, before the first clustering.
        relaxed: r >= 0 forgets the links of pairs within ``eps * r`` (0: of duplicates only); r < 0 forgets those of
            pairs beyond ``eps * |r|`` and keeps them among near pairs.
        mode: "clean" starts every round from the given links. "ordered" edits them as the published code does: links
            that a round forgets never return, and the first sample of a cluster keeps the links of all members.
        options: see :class:`~unreid.clustering.dbscan.DBSCAN`.

    Raises:
        ValueError: an unknown mode.
        UserError: there are no links, or they belong to another number of samples.
    """

    def __init__(
        self,
        eps: float = 0.6,
        min_samples: int = 4,
        *,
        links: Links | None = None,
        relaxed: float = 0.0,
        mode: str = "clean",
        **options: Any,
    ) -> None:
        super().__init__(eps, min_samples, **options)
        if mode not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}, not {mode!r}")
        self.links = links
        self.relaxed = relaxed
        self.mode = mode

    @classmethod
    def from_config(cls, cfg: Any) -> ConstrainedDBSCAN:
        """DBSCAN's keys and ``CLUSTER.ICDBSCAN_{RELAXED,MODE}``; the links come from the run's constraints."""
        node = cfg.CLUSTER
        return cls(
            node.EPS,
            node.MIN_SAMPLES,
            relaxed=node.ICDBSCAN_RELAXED,
            mode=node.ICDBSCAN_MODE,
            tol=node.TOL,
            adaptive=node.ADAPTIVE,
            rho=node.RHO,
            eps_zero_tol=node.EPS_ZERO_TOL,
        )

    @property
    def radius(self) -> float:
        """Relaxation with \\|r\\| > 1 asks for distances beyond eps."""
        base = super().radius
        return base if self.adaptive and self.fixed is None else base * max(1.0, abs(self.relaxed))

    def cluster(
        self,
        features: Tensor,
        graph: PairGraph | None,
        *,
        round: int = 0,
        seed: int = 0,
        camids: Tensor | None = None,
    ) -> Clustering:
        assert graph is not None
        if self.links is None:
            raise UserError(
                "Constrained DBSCAN has no cannot-links: set CLUSTER.ICDBSCAN_OPTION True and mine them with "
                "tools/mine_constraints.py, or choose CLUSTER.NAME DBSCAN."
            )
        if self.links.height != graph.n:
            raise UserError(f"The cannot-links are of {self.links.height} samples, the training list has {graph.n}.")
        eps = self.current_eps(graph)
        labels = self._fit(graph.to("cpu"), eps)
        found = Clustering.from_labels(labels)
        found.extras["eps"] = eps
        return found

    def _fit(self, graph: PairGraph, eps: float) -> np.ndarray:
        assert self.links is not None
        start, index = neighbour_lists(graph, eps + self.tol)
        links = relax(self.links, graph, eps, self.relaxed, self.tol)
        if self.mode == "clean":
            bounds, flat = links.start.tolist(), links.index
            return ConstrainedGrowth(
                start, index, lambda sample: flat[bounds[sample] : bounds[sample + 1]], self.min_samples
            ).run()
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
            start, index = (part.numpy() for part in state["links"])
            self.links = Links(start, index, len(start) - 1)


def neighbour_lists(graph: PairGraph, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """CSR lists (start, index) of the neighbours within ``radius``, every sample in its own list, ascending."""
    near = (graph.dist <= radius).numpy()
    i, j = graph.i.numpy()[near], graph.j.numpy()[near]
    own = np.arange(graph.n, dtype=np.int64)
    lists = Links.from_pairs(np.concatenate((i, j, own)), np.concatenate((j, i, own)), (graph.n, graph.n))
    return lists.start, lists.index


def relax(links: Links, graph: PairGraph, eps: float, relaxed: float, tol: float = 0.0) -> Links:
    """The links without those that ``relaxed`` forgets and without links of a sample to itself; a fresh copy.

    Pairs that the graph does not hold are farther than any limit in use.
    """
    limit = eps * abs(relaxed)
    if limit > graph.radius:
        raise UserError(
            f"CLUSTER.ICDBSCAN_RELAXED {relaxed} asks for pairs up to {limit:.3f}, beyond the largest distance "
            f"{graph.radius:.3f} of the pair graph: choose a value closer to 0."
        )
    rows, count = links.rows(), links.height
    near = (graph.dist <= limit + tol).numpy()
    i, j = graph.i.numpy()[near], graph.j.numpy()[near]
    codes = np.minimum(rows, links.index) * count + np.maximum(rows, links.index)
    within = np.isin(codes, i * count + j)
    keep = (within if relaxed < 0 else ~within) & (rows != links.index)
    return Links.from_pairs(rows[keep], links.index[keep], (count, count))


def inner_clusterers(clusterer: Clusterer | None) -> Iterator[Clusterer]:
    """The clusterers that do the work inside one that a config composed."""
    if isinstance(clusterer, SizeFilter):
        yield from inner_clusterers(clusterer.clusterer)
    elif isinstance(clusterer, ScheduledClusterer):
        for _, stage in clusterer.stages:
            yield from inner_clusterers(stage)
    elif clusterer is not None:
        yield clusterer


def find_constrained(clusterer: Clusterer | None) -> ConstrainedDBSCAN | None:
    """The constrained DBSCAN inside a clusterer as a config composes it, or None."""
    return next((part for part in inner_clusterers(clusterer) if isinstance(part, ConstrainedDBSCAN)), None)
