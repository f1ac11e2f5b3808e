"""Builds the pair graph that a config describes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from unreid.neighbors.camera_jaccard import camera_jaccard_graph, list_widths
from unreid.neighbors.camera_lists import CameraLists, camera_lists
from unreid.neighbors.jaccard import jaccard_graph, list_width
from unreid.neighbors.knn import knn
from unreid.neighbors.metric import metric_graph
from unreid.neighbors.share import ALONE, Share
from unreid.structures import PairGraph
from unreid.utils.arrays import ArrayLike, as_features, as_integers
from unreid.utils.distributed import get_world_size
from unreid.utils.errors import UserError

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
        metric: "jaccard", "ca_jaccard" (needs cameras), "euclidean" or "cosine"; for the last two only ``tol`` counts.
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
        """Reads ``CLUSTER.{METRIC,K1,K2,K1_INCLUDES_SELF,KNN.BACKEND,CA.*}``."""
        node, cameras = cfg.CLUSTER, cfg.CLUSTER.CA
        return cls(
            metric=node.METRIC,
            k1=node.K1,
            k2=node.K2,
            k1_includes_self=node.K1_INCLUDES_SELF,
            knn_backend=node.KNN.BACKEND,
            cameras=CameraNeighbors(
                k1_intra=cameras.K1_INTRA,
                k1_inter=cameras.K1_INTER,
                k2_intra=cameras.K2_INTRA,
                k2_inter=cameras.K2_INTER,
                ckrnn=cameras.CKRNN,
                clqe=cameras.CLQE,
            ),
        )

    def __call__(
        self,
        features: ArrayLike,
        radius: float,
        *,
        camids: ArrayLike | None = None,
        round: int = 1,
        shared: bool = True,
    ) -> PairGraph:
        """Every pair up to ``radius``, of (N, D) features that are the same on every process.

        Args:
            camids: int (N,); read by "ca_jaccard" only.
            round: of training, from 0; "ca_jaccard" takes other sizes in the first.
            shared: the work is shared by the processes, of which the others call :meth:`assist`; False: done here
                alone.

        Raises:
            UserError: "ca_jaccard" without cameras.
        """
        features = as_features(features)
        share = Share.of_this_process() if shared else ALONE
        if self.metric == CAMERA_JACCARD:
            return self._camera_graph(features, radius, camids, round, share)
        if self.metric != JACCARD:
            return metric_graph(features, metric=self.metric, radius=radius, tol=self.tol)
        return jaccard_graph(
            features,
            k1=self.k1,
            k2=self.k2,
            k1_includes_self=self.k1_includes_self,
            radius=radius,
            tol=self.tol,
            backend=self.backend,
            neighbors=self._search(features, share) if share.world > 1 else None,
            knn_backend=self.knn_backend,
            share=share,
        )

    def search(self, features: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Distances and indices (N, k) of the nearest rows, self first, as :func:`unreid.neighbors.knn` gives them.

        All processes call it: each searches for its share of the rows, and all get the whole.
        """
        return self._lists(features, k, Share.of_this_process())

    def assist(self, features: Tensor, radius: float, *, camids: Tensor | None = None, round: int = 1) -> None:
        """Takes part in the work of the process that asked for the graph; for all processes that did not."""
        if get_world_size() > 1 and (self.metric == JACCARD or (self.metric == CAMERA_JACCARD and camids is not None)):
            self(features, radius, camids=camids, round=round)

    def _camera_graph(
        self, features: Tensor, radius: float, camids: ArrayLike | None, round: int, share: Share
    ) -> PairGraph:
        if camids is None:
            raise UserError("CLUSTER.METRIC ca_jaccard needs the camera of every sample (camids).")
        camids = as_integers(camids, "camids", len(features)).to(features.device)
        cameras = self.cameras.at(round)
        return camera_jaccard_graph(
            features,
            camids,
            k1_intra=cameras.k1_intra,
            k1_inter=cameras.k1_inter,
            k2_intra=cameras.k2_intra,
            k2_inter=cameras.k2_inter,
            ckrnn=cameras.ckrnn,
            clqe=cameras.clqe,
            k1=self.k1,
            k2=self.k2,
            radius=radius,
            tol=self.tol,
            backend=self.backend,
            lists=self._camera_search(features, camids, round, share) if share.world > 1 else None,
            knn_backend=self.knn_backend,
            share=share,
        )

    def _lists(self, features: Tensor, k: int, share: Share) -> tuple[Tensor, Tensor]:
        queries = share.rows(len(features), features.device) if share.world > 1 else None
        distance, index = knn(features, min(k, len(features)), queries=queries, backend=self.knn_backend)
        return share.join(distance), share.join(index)

    def _search(self, features: Tensor, share: Share) -> tuple[Tensor, Tensor]:
        return self._lists(features, list_width(self.k1, self.k1_includes_self), share)

    def _camera_search(self, features: Tensor, camids: Tensor, round: int, share: Share) -> CameraLists:
        widths, queries = self.cameras.at(round).widths, share.rows(len(features), features.device)
        part = camera_lists(features, camids, *widths, queries=queries, backend=self.knn_backend)
        return CameraLists(
            share.join(part.intra_distance),
            share.join(part.intra),
            share.join(part.inter_distance),
            share.join(part.inter),
        )
