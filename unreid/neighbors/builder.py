"""Builds the pair graph that a config describes, by a distance that it names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from unreid.neighbors.camera_jaccard import list_widths
from unreid.neighbors.knn import KNN_BACKENDS, knn
from unreid.neighbors.share import ALONE, Share
from unreid.structures import PairGraph
from unreid.utils.arrays import ArrayLike, as_features, as_integers
from unreid.utils.distributed import get_world_size
from unreid.utils.registry import Registry
from unreid.utils.settings import settings

JACCARD, CAMERA_JACCARD = "jaccard", "ca_jaccard"


@dataclass(frozen=True)
class CameraNeighbors:
    """Sizes of the camera-aware distance; see :func:`~unreid.neighbors.camera_jaccard.camera_jaccard_graph`.

    Attributes:
        k2_first: replaces ``k2_intra`` and ``k2_inter`` in round 0, as published.
    """

    k1_intra: int = 5
    k1_inter: int = 20
    k2_intra: int = 2
    k2_inter: int = 4
    k2_first: int = 3
    ckrnn: bool = True
    clqe: bool = True

    def at(self, round: int) -> CameraNeighbors:
        """The sizes of a round."""
        return replace(self, k2_intra=self.k2_first, k2_inter=self.k2_first) if round == 0 else self

    @property
    def widths(self) -> tuple[int, int]:
        """Widths of the neighbour lists: of the own camera, of the others."""
        return list_widths(self.k1_intra, self.k1_inter, self.k2_intra, self.k2_inter)


@dataclass(frozen=True)
class PairGraphBuilder:
    """Features in, pair graph out; with several processes each makes the neighbours and the graph of its rows.

    Attributes:
        metric: "jaccard", "ca_jaccard" (needs cameras), "euclidean", "cosine" or another of ``METRICS``; for the last
            two of these only ``tol`` counts.
        tol, k1, k2, k1_includes_self, backend, knn_backend: see
            :func:`~unreid.neighbors.jaccard.jaccard_graph`.
        cameras: sizes of "ca_jaccard", which has no use for ``k1`` and ``k2`` but in its ablations.
    """

    metric: str = JACCARD
    tol: float = 1e-6
    k1: int = 30
    k2: int = 6
    k1_includes_self: bool = True
    backend: str = "auto"
    knn_backend: str = "torch"
    cameras: CameraNeighbors = CameraNeighbors()

    @classmethod
    def from_config(cls, cfg: Any) -> PairGraphBuilder:
        node = cfg.CLUSTER
        sizes = ("K1_INTRA", "K1_INTER", "K2_INTRA", "K2_INTER", "CKRNN", "CLQE")
        return cls(
            METRICS.spelt(node.METRIC),
            **settings(node, "K1", "K2", "K1_INCLUDES_SELF"),
            knn_backend=KNN_BACKENDS.spelt(node.KNN.BACKEND),
            cameras=CameraNeighbors(**settings(node.CA, *sizes)),
        )

    def __call__(
        self,
        features: ArrayLike,
        radius: float,
        *,
        camids: ArrayLike | None = None,
        round: int = 1,
        shared: bool = True,
        lists: Any = None,
    ) -> PairGraph:
        """Every pair up to ``radius``, of (N, D) features that are the same on every process.

        Args:
            camids: int (N,); read by "ca_jaccard" only.
            round: of training, from 0; "ca_jaccard" takes other sizes in the first.
            shared: the work is shared by the processes, of which the others call :meth:`assist`; False: done here
                alone.
            lists: what :meth:`Metric.lists` gives for these features, or wider ones, to skip the search.

        Raises:
            UserError: "ca_jaccard" without cameras.
        """
        features = as_features(features)
        if camids is not None:
            camids = as_integers(camids, "camids", len(features)).to(features.device)
        kind = METRICS.get(self.metric)
        metric = kind(self, Share.of_this_process() if shared and kind.shared else ALONE)
        if lists is None and metric.share.world > 1:
            lists = metric.lists(features, camids, round)
        return metric.graph(features, radius, camids, round, lists)

    def search(self, features: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Distances and indices (N, k) of the nearest rows, self first, as :func:`unreid.neighbors.knn` gives them.

        All processes call it: each searches for its share of the rows, and all get the whole.
        """
        return self.search_share(features, k, Share.of_this_process())

    def search_share(self, features: Tensor, k: int, share: Share) -> tuple[Tensor, Tensor]:
        """:meth:`search` by the processes of ``share``."""
        queries = share.rows(len(features), features.device) if share.world > 1 else None
        distance, index = knn(features, min(k, len(features)), queries=queries, backend=self.knn_backend)
        return share.join(distance), share.join(index)

    def assist(self, features: Tensor, radius: float, *, camids: Tensor | None = None, round: int = 1) -> None:
        """Takes part in the work of the process that asked for the graph; for all processes that did not."""
        if get_world_size() > 1 and METRICS.get(self.metric).shared:
            self(features, radius, camids=camids, round=round)


class Metric:
    """A distance between samples, and the graph of the pairs that are near by it; for plug-ins too.

    Attributes:
        shared: several processes make the lists and the graph together, and all get the whole; False: one does.
        share: the part of this process.
    """

    shared = False

    def __init__(self, settings: PairGraphBuilder, share: Share = ALONE) -> None:
        self.settings = settings
        self.share = share

    def lists(self, features: Tensor, camids: Tensor | None, round: int) -> Any:
        """Neighbour lists of all rows, of which each process searches its part; None: none are needed."""
        return None

    def graph(self, features: Tensor, radius: float, camids: Tensor | None, round: int, lists: Any) -> PairGraph:
        """Every pair up to ``radius + settings.tol``.

        Args:
            features: float32 (N, D), finite.
            camids: int64 (N,) or None.
            lists: what :meth:`lists` gives, or None: not searched yet.
        """
        raise NotImplementedError


METRICS: Registry[type[Metric]] = Registry("metric")
